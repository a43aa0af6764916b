"""Renders the chart, and what kustomize has from the rendered objects: the chart is the one truth.

`variants()` are what is offered: each is a chart with values, and a directory for kustomize. The base is one of them as it is
rendered; an overlay is the difference of another one from the base, as JSON patches (RFC 6902) and further objects.
"""

import copy
import pathlib
from dataclasses import dataclass, field

import helm_python
import yaml

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
CHART = DEPLOY / "helm" / "quorate"
KUSTOMIZE = DEPLOY / "kustomize"
RELEASE = "quorate"
NAMESPACE = "quorate"
HEADER = "# Rendered from deploy/helm/quorate by `deploy/checks/run --write`: change the chart, not this file.\n"


@dataclass
class Variant:
    """A chart with values, and where kustomize has the same."""

    directory: str
    files: list = field(default_factory=list)
    values: dict = field(default_factory=dict)
    about: str = ""

    def merged(self):
        values = {}
        for name in self.files:
            values = merge(values, yaml.safe_load((CHART / name).read_text()))
        return merge(values, self.values)


BASE = Variant("base", values={"insecure": True}, about="Three nodes, without encryption and authentication.")
OVERLAYS = [
    Variant("overlays/dev", ["values-dev.yaml"], about="Three small nodes, on one machine if need be."),
    Variant(
        "overlays/three-zones",
        ["values-three-zones.yaml"],
        {"insecure": True},
        "One node in each of three zones, without encryption and authentication.",
    ),
    Variant("overlays/tls", ["values-tls.yaml"], about="Encrypted and authenticated; needs cert-manager."),
    Variant(
        "overlays/three-zones-tls",
        ["values-three-zones.yaml", "values-tls.yaml"],
        about="One node in each of three zones, encrypted and authenticated; needs cert-manager.",
    ),
]
MONITORING = Variant(
    "components/monitoring",
    values={"insecure": True, "monitoring": {"enabled": True}},
    about="Scraping, alerts and a dashboard for any of the overlays; needs the Prometheus operator.",
)


def variants():
    """All of them, by directory."""
    return {v.directory: v for v in [BASE, *OVERLAYS, MONITORING]}


def merge(lower, upper):
    """As Helm merges values: maps key by key, everything else is replaced."""
    merged = copy.deepcopy(lower)
    for key, value in upper.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def helm(values):
    """The objects of the chart with these values, in the order of their keys."""
    with helm_python.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name=RELEASE, namespace=NAMESPACE)
    found = {}
    for name, text in texts.items():
        if name.endswith(".yaml"):
            for item in yaml.safe_load_all(text):
                if item:
                    assert key(item) not in found, f"{key(item)} is rendered twice"
                    found[key(item)] = item
    return dict(sorted(found.items()))


def key(item):
    """What tells an object from all others."""
    return (item["kind"], item["metadata"]["name"], item["apiVersion"])


class Dumper(yaml.SafeDumper):
    """Texts of several lines stay readable; lists are indented below their key."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data):
        return True


def _text(dumper, text):
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _text)


def dump(*documents):
    """As text, one after the other."""
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, width=120)


def escaped(part):
    """A part of a JSON pointer (RFC 6901)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def difference(old, new, path=""):
    """Operations that make `new` of `old`."""
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return _difference_of_maps(old, new, path)
    if isinstance(old, list) and isinstance(new, list) and len(old) <= len(new):
        changed = [op for i, item in enumerate(old) for op in difference(item, new[i], f"{path}/{i}")]
        return changed + [{"op": "add", "path": f"{path}/-", "value": item} for item in new[len(old) :]]
    return [{"op": "replace", "path": path, "value": new}]


def _difference_of_maps(old, new, path):
    ops = []
    for name in [*old, *(name for name in new if name not in old)]:
        at = f"{path}/{escaped(name)}"
        if name not in new:
            ops.append({"op": "remove", "path": at})
        elif name not in old:
            ops.append({"op": "add", "path": at, "value": new[name]})
        else:
            ops.extend(difference(old[name], new[name], at))
    return ops


def files_of_base():
    """The files of the base, by their path below deploy/kustomize."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["resources.yaml"],
    }
    return {
        f"{BASE.directory}/kustomization.yaml": _about(BASE) + dump(kustomization),
        f"{BASE.directory}/resources.yaml": HEADER + dump(*helm(BASE.merged()).values()),
    }


def _about(variant):
    return f"{HEADER}# {variant.about}\n"


def files_of_overlay(variant, base):
    """The files of an overlay: patches of what the base has, and what it has not."""
    wanted = helm(variant.merged())
    gone = [k for k in base if k not in wanted]
    assert not gone, f"{variant.directory} lacks {gone}: an overlay adds and changes"
    added = [item for k, item in wanted.items() if k not in base]
    files, patches = {}, []
    for k, item in wanted.items():
        ops = difference(base[k], item) if k in base else []
        if ops:
            name = f"patch-{k[0].lower()}-{k[1]}.yaml"
            files[f"{variant.directory}/{name}"] = HEADER + dump(ops)
            patches.append({"path": name, "target": {"kind": k[0], "name": k[1]}})
    component = variant is MONITORING
    version = "v1alpha1" if component else "v1beta1"
    kustomization = {
        "apiVersion": f"kustomize.config.k8s.io/{version}",
        "kind": "Component" if component else "Kustomization",
        "resources": ([] if component else ["../../base"]) + (["resources.yaml"] if added else []),
    }
    assert not (component and patches), "a component that patches would not go with every overlay"
    if patches:
        kustomization["patches"] = patches
    if added:
        files[f"{variant.directory}/resources.yaml"] = HEADER + dump(*added)
    files[f"{variant.directory}/kustomization.yaml"] = _about(variant) + dump(kustomization)
    return files


def files():
    """Everything that lies in deploy/kustomize, by path."""
    base = helm(BASE.merged())
    found = files_of_base()
    for variant in [*OVERLAYS, MONITORING]:
        found.update(files_of_overlay(variant, base))
    return found


def write():
    """Makes deploy/kustomize what it should be."""
    wanted = files()
    for path in KUSTOMIZE.rglob("*.yaml"):
        if str(path.relative_to(KUSTOMIZE)) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = KUSTOMIZE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def dump_all(directory):
    """Every variant as Helm renders it, one file each, for tools that read files."""
    for name, variant in variants().items():
        path = pathlib.Path(directory, f"{name.replace('/', '-')}.yaml")
        path.write_text(dump(*helm(variant.merged()).values()))
