"""Chart and kustomize are the same, fit their schemas, and fit together."""

import copy
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import consistency
import jsonschema
import kubernetes_validate
import render
import yaml

# The oldest one that the schemas know and the newest one: what is offered must be right in both.
VERSIONS = ["1.31", kubernetes_validate.latest_version()]
SCHEMAS = pathlib.Path(__file__).with_name("schemas")


def rendered(directory="base", **values):
    variant = render.variants()[directory]
    return render.helm(render.merge(variant.merged(), values))


def schema_problem(item, version):
    """Why an object does not fit its schema; one without a schema does not fit."""
    own = SCHEMAS / f"{item['kind'].lower()}.json"
    try:
        if own.exists():
            unknown = set(item) - {"apiVersion", "kind", "metadata", "spec"}
            assert not unknown, f"unknown fields {unknown}"
            jsonschema.validate(item["spec"], json.loads(own.read_text()))
        else:
            kubernetes_validate.validate(item, version, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.SchemaNotFoundError, AssertionError) as problem:
        return (str(problem) or repr(problem)).splitlines()[0]
    return None


class Rendered(unittest.TestCase):
    def test_committed_kustomize_is_what_the_chart_renders(self):
        wanted = render.files()
        there = {str(p.relative_to(render.KUSTOMIZE)) for p in render.KUSTOMIZE.rglob("*.yaml")}
        self.assertEqual(there, set(wanted), "deploy/checks/run --write")
        for name, text in wanted.items():
            self.assertEqual((render.KUSTOMIZE / name).read_text(), text, f"{name}: deploy/checks/run --write")

    def test_patches_of_the_overlays_make_what_the_chart_renders(self):
        for variant in [render.BASE, *render.OVERLAYS]:
            with self.subTest(variant.directory):
                self.assertEqual(built_here(variant), render.helm(variant.merged()))

    def test_kubectl_kustomize_builds_what_the_chart_renders(self):
        if not shutil.which("kubectl"):
            self.skipTest("kubectl is not installed: the overlays were built by the checks alone")
        for variant in [render.BASE, *render.OVERLAYS]:
            with self.subTest(variant.directory):
                built = kubectl_kustomize(render.KUSTOMIZE / variant.directory)
                self.assertEqual(built, render.helm(variant.merged()))
        with self.subTest("a component goes with an overlay"), tempfile.TemporaryDirectory() as directory:
            shutil.copytree(render.KUSTOMIZE, directory, dirs_exist_ok=True)
            mine = pathlib.Path(directory, "mine")
            mine.mkdir()
            text = "resources: [../overlays/dev]\ncomponents: [../components/monitoring]\n"
            (mine / "kustomization.yaml").write_text(text)
            wanted = rendered("overlays/dev", monitoring={"enabled": True})
            self.assertEqual(kubectl_kustomize(mine), wanted)

    def test_helm_finds_nothing_to_complain_of(self):
        import helm_python

        for variant in render.variants().values():
            lint = helm_python.lint(str(render.CHART), variant.merged(), strict=True, namespace=render.NAMESPACE)
            bad = [m for m in lint.get("messages", []) if "icon" not in str(m)]
            self.assertEqual(bad, [])


def built_here(variant):
    """What kustomize makes of the committed files, without kustomize."""
    directory = render.KUSTOMIZE / variant.directory
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    items = []
    for resource in kustomization["resources"]:
        path = directory / resource
        path = path / "resources.yaml" if path.is_dir() else path
        items += list(yaml.safe_load_all(path.read_text()))
    for patch in kustomization.get("patches", []):
        wanted = (patch["target"]["kind"], patch["target"]["name"])
        [target] = [i for i in items if (i["kind"], i["metadata"]["name"]) == wanted]
        for op in yaml.safe_load((directory / patch["path"]).read_text()):
            apply(target, op)
    return dict(sorted((render.key(i), i) for i in items))


def apply(target, op):
    """One operation of a JSON patch (RFC 6902), of those that `render.difference` makes."""
    *path, last = [p.replace("~1", "/").replace("~0", "~") for p in op["path"].split("/")[1:]]
    for part in path:
        target = target[int(part)] if isinstance(target, list) else target[part]
    if isinstance(target, list) and last == "-":
        target.append(op["value"])
    elif op["op"] == "remove":
        del target[last]
    else:
        target[int(last) if isinstance(target, list) else last] = op["value"]


def kubectl_kustomize(directory):
    built = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True, check=True)
    return dict(sorted((render.key(i), i) for i in yaml.safe_load_all(built.stdout)))


class Schemas(unittest.TestCase):
    def test_every_object_fits_its_schema(self):
        for directory in render.variants():
            for item in rendered(directory).values():
                for version in VERSIONS:
                    with self.subTest(directory, item=render.key(item), version=version):
                        self.assertIsNone(schema_problem(item, version))

    def test_what_schemas_should_find_is_found(self):
        objects = rendered("overlays/tls")
        item = lambda kind: copy.deepcopy(next(o for k, o in objects.items() if k[0] == kind))  # noqa: E731
        typo = item("StatefulSet")
        typo["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
        wrong = item("PodDisruptionBudget")
        wrong["spec"]["maxUnavailable"] = True
        old = item("PodDisruptionBudget") | {"apiVersion": "policy/v1beta1"}
        certificate = item("Certificate")
        certificate["spec"]["dnsName"] = "x"
        for planted in [typo, wrong, old, certificate]:
            self.assertIsNotNone(schema_problem(planted, VERSIONS[-1]))


class Consistency(unittest.TestCase):
    def test_objects_of_every_variant_fit_together(self):
        for directory in render.variants():
            with self.subTest(directory):
                self.assertEqual(consistency.problems(rendered(directory).values()), [])

    def test_first_nodes_are_all_nodes_unless_the_cluster_was_scaled(self):
        for directory in render.variants():
            objects = consistency.Objects(rendered(directory).values())
            listed = objects.environment(0)["QUORATE_PEERS"].split(",")
            self.assertEqual(len(listed), objects.set["spec"]["replicas"], directory)
        scaled = rendered("overlays/tls", replicas=5)
        self.assertEqual(consistency.problems(scaled.values()), [])
        listed = consistency.Objects(scaled.values()).environment(4)["QUORATE_PEERS"].split(",")
        self.assertEqual(len(listed), 3, "the list is that of the first installation, for ever")

    def test_another_name_and_more_of_everything_fits_together(self):
        values = {"nameOverride": "orders", "firstNodes": 5, "replicas": 5, "clusterDomain": "cluster.local"}
        self.assertEqual(consistency.problems(rendered("overlays/three-zones-tls", **values).values()), [])

    def test_a_changed_setting_restarts_the_pods_and_nothing_else_does(self):
        def checksum(**values):
            template = consistency.Objects(rendered("base", **values).values()).template
            return template["metadata"]["annotations"]["checksum/config"]

        self.assertNotEqual(checksum(), checksum(config={"limits": {"session_timeout_ms": 5000}}))
        self.assertEqual(checksum(), checksum(replicas=5))

    def test_zones_and_machines_are_kept_apart_where_that_is_asked_for(self):
        def spread(directory):
            pod = consistency.Objects(rendered(directory).values()).pod
            [constraint] = pod["topologySpreadConstraints"]
            return constraint["whenUnsatisfiable"], list(pod["affinity"]["podAntiAffinity"])

        required = ["requiredDuringSchedulingIgnoredDuringExecution"]
        preferred = ["preferredDuringSchedulingIgnoredDuringExecution"]
        self.assertEqual(spread("overlays/three-zones"), ("DoNotSchedule", required))
        self.assertEqual(spread("base"), ("ScheduleAnyway", required))
        self.assertEqual(spread("overlays/dev"), ("ScheduleAnyway", preferred))

    def test_values_that_cannot_work_are_refused(self):
        refused = {
            "insecure": {"insecure": False},
            "half secure": {"insecure": False, "tls": {"enabled": True}},
            "certificates of clients that nobody looks at": {"tls": {"enabled": True, "clientCertificates": True}},
            "even": {"firstNodes": 2},
            "too few": {"replicas": 2},
            "typo": {"replica": 3},
            "nested typo": {"tls": {"enable": True}},
        }
        for what, values in refused.items():
            with self.subTest(what), self.assertRaises(Exception):
                rendered("base", **values)


class Planted(unittest.TestCase):
    """A check that cannot fail checks nothing: each rule finds what is planted for it."""

    def setUp(self):
        values = {"monitoring": {"enabled": True}}
        self.objects = copy.deepcopy(list(rendered("overlays/three-zones-tls", **values).values()))
        self.o = consistency.Objects(self.objects)

    def finds(self, rule):
        found = {problem.partition(":")[0] for problem in consistency.problems(self.objects)}
        self.assertIn(rule.__name__, found)

    def test_faults_are_found(self):
        c = consistency
        faults = {
            c.selectors: lambda o: o.named("Service", "quorate")["spec"]["selector"].update(x="y"),
            c.monitors: lambda o: o.of("ServiceMonitor")[0]["spec"]["endpoints"][0].update(port="web"),
            c.namespaces: lambda o: o.of("ServiceAccount")[0]["metadata"].update(namespace="default"),
            c.named_ports: lambda o: o.container["readinessProbe"]["httpGet"].update(port="web"),
            c.config_ports: lambda o: o.container["ports"][0].update(containerPort=7400),
            c.policies_cover_ports: lambda o: o.objects_remove("NetworkPolicy", "quorate-admin"),
            c.volumes: lambda o: o.pod["volumes"][0]["configMap"].update(name="other"),
            c.paths: lambda o: o.container["args"].append("/somewhere/else"),
            c.references: lambda o: o.set["spec"].update(serviceName="quorate"),
            c.quantities: lambda o: o.container["resources"]["limits"].update(memory="1GiB"),
            c.peers: lambda o: o.container["env"][3].update(value=o.env["QUORATE_PEERS"].replace("1.quor", "7.quor")),
            c.grace: lambda o: o.pod.update(terminationGracePeriodSeconds=30),
            c.probes: lambda o: o.container["livenessProbe"]["httpGet"].update(path="/readyz"),
            c.stateful_set: lambda o: o.set["spec"].update(podManagementPolicy="OrderedReady"),
            c.hardening: lambda o: o.container["securityContext"].update(readOnlyRootFilesystem=False),
            c.certificates: lambda o: o.named("Certificate", "quorate-client")["spec"].update(ipAddresses=[]),
            c.security: lambda o: o.container["env"].append({"name": "QUORATE_INSECURE", "value": "true"}),
        }
        self.assertEqual(set(faults), set(c.RULES), "every rule has a fault planted for it")
        for rule, plant in faults.items():
            with self.subTest(rule.__name__):
                self.setUp()
                self.o.objects_remove = self.remove
                plant(self.o)
                self.finds(rule)

    def remove(self, kind, name):
        self.objects[:] = [o for o in self.objects if (o["kind"], o["metadata"]["name"]) != (kind, name)]


if __name__ == "__main__":
    unittest.main()
