"""What schemas miss: whether rendered objects fit each other, and what kubernetes people learnt the hard way.

`problems()` looks at all objects of one rendering and says what is wrong with them; each rule is a function of its own.
"""

import ipaddress
import re
import tomllib

# Made by who installs, not by the chart.
EXTERNAL_SECRETS = {"quorate-admin"}
# A node exits within so long of SIGTERM (crates/cli/src/commands/serve.rs).
STOP_SECONDS = 10
QUANTITY = re.compile(r"^(?:0|[1-9]\d*)(?:\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")
SCALE = {None: 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


class Objects:
    """The objects of one rendering, and the ones that everything turns around."""

    def __init__(self, objects):
        self.all = list(objects)
        [self.set] = self.of("StatefulSet")
        self.template = self.set["spec"]["template"]
        self.pod = self.template["spec"]
        [self.container] = self.pod["containers"]
        self.name = self.set["metadata"]["name"]
        self.namespace = self.set["metadata"]["namespace"]
        self.ports = {p["name"]: p["containerPort"] for p in self.container["ports"]}
        self.env = {e["name"]: e.get("value") for e in self.container["env"]}

    def of(self, kind):
        return [o for o in self.all if o["kind"] == kind]

    def named(self, kind, name):
        return next((o for o in self.of(kind) if o["metadata"]["name"] == name), None)

    def config(self):
        """The TOML file, as the container sees it."""
        return tomllib.loads(self.named("ConfigMap", self.name)["data"]["quorate.toml"])

    def environment(self, ordinal, zone=""):
        """The environment of one pod: what fields say, and `$(NAME)` replaced as Kubernetes does, in order."""
        fields = {
            "metadata.name": f"{self.name}-{ordinal}",
            "metadata.namespace": self.namespace,
            "metadata.labels['topology.kubernetes.io/zone']": zone,
        }
        found = {}
        for entry in self.container["env"]:
            text = entry.get("value")
            if text is None:
                text = fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
            found[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda m: found.get(m[1], m[0]), text)
        return found


def problems(rendered):
    """Everything that is wrong, in sentences."""
    objects = Objects(rendered)
    return [f"{rule.__name__}: {what}" for rule in RULES for what in rule(objects)]


def selects(selector, labels):
    return bool(selector) and selector.items() <= labels.items()


def selectors(o):
    labels = o.template["metadata"]["labels"]
    found = [("StatefulSet", o.set["spec"]["selector"]["matchLabels"])]
    found += [(f"Service {s['metadata']['name']}", s["spec"]["selector"]) for s in o.of("Service")]
    budgets = o.of("PodDisruptionBudget")
    found += [("PodDisruptionBudget", b["spec"]["selector"]["matchLabels"]) for b in budgets]
    policies = o.of("NetworkPolicy")
    found += [(f"NetworkPolicy {p['metadata']['name']}", p["spec"]["podSelector"]["matchLabels"]) for p in policies]
    for constraint in o.pod["topologySpreadConstraints"]:
        found.append(("topologySpreadConstraints", constraint["labelSelector"]["matchLabels"]))
    anti = o.pod["affinity"]["podAntiAffinity"]
    for term in anti.get("requiredDuringSchedulingIgnoredDuringExecution", []):
        found.append(("podAntiAffinity", term["labelSelector"]["matchLabels"]))
    for term in anti.get("preferredDuringSchedulingIgnoredDuringExecution", []):
        found.append(("podAntiAffinity", term["podAffinityTerm"]["labelSelector"]["matchLabels"]))
    for who, selector in found:
        if not selects(selector, labels):
            yield f"{who} selects {selector}, pods have {labels}"
    if len(budgets) != 1:
        yield f"there are {len(budgets)} disruption budgets for one StatefulSet"


def monitors(o):
    for monitor in o.of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        services = [s for s in o.of("Service") if selects(wanted, s["metadata"]["labels"])]
        if len(services) != 1:
            yield f"the ServiceMonitor selects {len(services)} services: each node would be scraped as often"
            continue
        ports = {p["name"] for p in services[0]["spec"]["ports"]}
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint["port"] not in ports:
                yield f"the ServiceMonitor scrapes port {endpoint['port']}, the service has {sorted(ports)}"


def namespaces(o):
    for item in o.all:
        if item["metadata"].get("namespace") != o.namespace:
            yield f"{item['kind']} {item['metadata']['name']} is in {item['metadata'].get('namespace')}"


def named_ports(o):
    used = [("service", p["targetPort"]) for s in o.of("Service") for p in s["spec"]["ports"]]
    used += [(probe, o.container[probe]["httpGet"]["port"]) for probe in PROBES]
    for policy in o.of("NetworkPolicy"):
        for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]:
            used += [("network policy", p["port"]) for p in rule["ports"] if p["port"] != 53]
    for who, port in used:
        if port not in o.ports:
            yield f"a {who} names port {port}, the container has {sorted(o.ports)}"
    for service in o.of("Service"):
        for port in service["spec"]["ports"]:
            if o.ports.get(port["targetPort"], port["port"]) != port["port"]:
                yield f"service port {port['port']} is not the container's {port['targetPort']}"


def config_ports(o):
    listen = o.config()["listen"]
    for name, port in o.ports.items():
        host, _, configured = listen[name].rpartition(":")
        if configured != str(port):
            yield f"{name} listens on {configured}, the container says {port}"
        if host != "0.0.0.0":
            yield f"{name} listens on {host} only"
    if set(listen) != set(o.ports):
        yield f"the file has ports {sorted(listen)}, the container {sorted(o.ports)}"


def policies_cover_ports(o):
    policies = o.of("NetworkPolicy")
    ingress = [r for p in policies for r in p["spec"].get("ingress", [])]
    for rule in ingress:
        if not rule.get("from"):
            yield f"anybody may reach {rule['ports']}"
    let_in = {p["port"] for r in ingress for p in r["ports"]}
    if let_in != set(o.ports):
        yield f"policies let in to {sorted(let_in)}, the container has {sorted(o.ports)}"
    own = o.set["spec"]["selector"]["matchLabels"]
    for rule in ingress:
        others = [f for f in rule["from"] if f.get("podSelector", {}).get("matchLabels") != own]
        if any(p["port"] == "peer" for p in rule["ports"]) and others:
            yield f"others than nodes reach the peers' port: {others}"


def volumes(o):
    claims = {c["metadata"]["name"] for c in o.set["spec"]["volumeClaimTemplates"]}
    there = {v["name"]: v for v in o.pod["volumes"]}
    mounted = {m["name"] for m in o.container["volumeMounts"]}
    if mounted != claims | set(there):
        yield f"mounted are {sorted(mounted)}, there are {sorted(claims | set(there))}"
    made = {c["spec"]["secretName"] for c in o.of("Certificate")} | EXTERNAL_SECRETS
    for name, volume in there.items():
        secret = volume.get("secret", {}).get("secretName")
        if secret and secret not in made:
            yield f"nobody makes the secret {secret} of volume {name}"
        config = volume.get("configMap", {}).get("name")
        if config and not o.named("ConfigMap", config):
            yield f"there is no ConfigMap {config} for volume {name}"
    for mount in o.container["volumeMounts"]:
        if mount.get("subPath"):
            yield f"{mount['name']} is mounted by subPath: what is renewed does not come to a running pod"
        if mount["name"] != "data" and not mount.get("readOnly"):
            yield f"{mount['name']} is writable"


def paths(o):
    """What the file, the environment and the hook name below the mounts is in a volume that is mounted there."""
    mounts = [m["mountPath"] for m in o.container["volumeMounts"]]
    words = [*o.container["args"], *drain(o), *(v for v in o.env.values() if v), str(o.config()["data_dir"])]
    for word in words:
        path = word.rpartition("=")[2] if word.startswith("--") else word
        if path.startswith("/") and path != "/quorate" and not any(path.startswith(m) for m in mounts):
            yield f"{path} is on no volume ({mounts})"


def references(o):
    if not o.named("ServiceAccount", o.pod["serviceAccountName"]):
        yield f"there is no ServiceAccount {o.pod['serviceAccountName']}"
    service = o.named("Service", o.set["spec"]["serviceName"])
    if not service:
        yield f"there is no Service {o.set['spec']['serviceName']}"
    elif service["spec"].get("clusterIP") != "None" or not service["spec"].get("publishNotReadyAddresses"):
        yield "the peers' service is not headless, or hides pods that are not ready: a cluster would never form"
    for service in o.of("Service"):
        if service["spec"].get("clusterIP") != "None" and service["spec"].get("publishNotReadyAddresses"):
            yield "clients are sent to pods that are not ready"


def amount(text):
    match = QUANTITY.match(str(text))
    return float(str(text)[: match.start(1)] if match[1] else text) * SCALE[match[1]] if match else None


def quantities(o):
    resources = o.container["resources"]
    for kind, sizes in resources.items():
        for name, text in sizes.items():
            if amount(text) is None:
                yield f"{kind} {name} {text} is no quantity"
    for claim in o.set["spec"]["volumeClaimTemplates"]:
        size = claim["spec"]["resources"]["requests"]["storage"]
        if amount(size) is None:
            yield f"storage {size} is no quantity"
    requests, limits = resources["requests"], resources["limits"]
    if requests["memory"] != limits["memory"]:
        yield "memory that is not requested may be taken away"
    if (amount(requests["cpu"]) or 0) > (amount(limits["cpu"]) or 0):
        yield "more cpu is requested than allowed"


def peers(o):
    listed = o.environment(0)["QUORATE_PEERS"].split(",")
    for ordinal, peer in enumerate(listed):
        node, _, address = peer.partition("=")
        if node != str(ordinal + 1):
            yield f"{peer} is not node {ordinal + 1}"
        wanted = f"{pod_name(o, ordinal)}:{o.ports['peer']}"
        if address != wanted:
            yield f"node {node} is at {address}, not {wanted}"
    if len(listed) % 2 == 0:
        yield f"{len(listed)} nodes form the cluster: an even number"
    replicas = o.set["spec"]["replicas"]
    if replicas < len(listed):
        yield f"{len(listed)} nodes are to form the cluster, {replicas} run"
    if replicas > len(listed) and o.env.get("QUORATE_JOIN") != "true":
        yield "the nodes above the first ones do not ask to be taken in"
    for ordinal in range(replicas):
        told = o.environment(ordinal)
        for name, port in [("CLIENT", "client"), ("PEER", "peer")]:
            wanted = f"{pod_name(o, ordinal)}:{o.ports[port]}"
            if told[f"QUORATE_ADVERTISE_{name}"] != wanted:
                yield f"pod {ordinal} tells others {told[f'QUORATE_ADVERTISE_{name}']}, not {wanted}"
        left = [n for n, v in told.items() if "$(" in v]
        if left:
            yield f"{left} are not replaced: what they name comes later, or never"


def pod_name(o, ordinal):
    return f"{o.name}-{ordinal}.{o.set['spec']['serviceName']}.{o.namespace}.svc.cluster.local"


def drain(o):
    return o.container["lifecycle"]["preStop"]["exec"]["command"]


def grace(o):
    budgets = [re.fullmatch(r"--timeout=(\d+)s", word) for word in drain(o)]
    [budget] = [int(b[1]) for b in budgets if b]
    given = o.pod["terminationGracePeriodSeconds"]
    if given < budget + 2 * STOP_SECONDS:
        yield f"{given} s of grace are too few for a drain of {budget} s and the stop after it"
    [lasts] = [int(word[len("--lasts=") : -1]) for word in drain(o) if word.startswith("--lasts=")]
    if lasts <= given:
        yield f"the slot is given away after {lasts} s, while the pod may still stop for {given} s"
    if drain(o)[:4] != ["/quorate", "cluster", "drain", "--local"]:
        yield f"the preStop hook is {drain(o)}"


PROBES = {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}


def probes(o):
    for probe, path in PROBES.items():
        if o.container[probe]["httpGet"]["path"] != path:
            yield f"the {probe} asks {o.container[probe]['httpGet']['path']}, not {path}"
    startup = o.container["startupProbe"]
    if startup["periodSeconds"] * startup["failureThreshold"] < 300:
        yield "recovery has less than five minutes"


def stateful_set(o):
    spec = o.set["spec"]
    wanted = {
        "podManagementPolicy": "Parallel",
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    }
    for name, value in wanted.items():
        if spec.get(name) != value:
            yield f"{name} is {spec.get(name)}, not {value}"
    if spec.get("minReadySeconds", 0) < 5:
        yield "a rollout goes on as soon as a pod is ready for a moment"
    [budget] = o.of("PodDisruptionBudget")
    if budget["spec"].get("maxUnavailable") != 1:
        yield "more than one pod may be evicted at a time"
    if "checksum/config" not in o.template["metadata"].get("annotations", {}):
        yield "a changed file restarts no pod"


def hardening(o):
    pod, own = o.pod["securityContext"], o.container["securityContext"]
    checks = {
        "runs as root": pod.get("runAsNonRoot") and pod.get("runAsUser", 0) >= 10000,
        "has no seccomp profile": pod.get("seccompProfile") == {"type": "RuntimeDefault"},
        "may gain privileges": own.get("allowPrivilegeEscalation") is False,
        "has a writable root": own.get("readOnlyRootFilesystem"),
        "has capabilities": own.get("capabilities") == {"drop": ["ALL"]},
        "cannot write its volume": pod.get("fsGroup") == pod.get("runAsGroup"),
        "has a token of Kubernetes": o.pod.get("automountServiceAccountToken") is False,
        "is told of all services": o.pod.get("enableServiceLinks") is False,
        "is on the host's network": not o.pod.get("hostNetwork"),
    }
    yield from (what for what, good in checks.items() if not good)


def certificates(o):
    made = {c["spec"]["secretName"]: c["spec"] for c in o.of("Certificate")}
    for name, certificate in made.items():
        issuer = certificate["issuerRef"]
        if issuer["kind"] == "Issuer" and not o.named("Issuer", issuer["name"]):
            yield f"nobody signs {name}: there is no issuer {issuer['name']}"
    for issuer in o.of("Issuer"):
        secret = issuer["spec"].get("ca", {}).get("secretName")
        if secret and not made.get(secret, {}).get("isCA"):
            yield f"the issuer {issuer['metadata']['name']} has no authority in {secret}"
    mounted = {v["name"]: v["secret"]["secretName"] for v in o.pod["volumes"] if "secret" in v}
    service = f"{o.name}.{o.namespace}.svc"
    nodes = [pod_name(o, i) for i in range(o.set["spec"]["replicas"])]
    wanted = {"peer-tls": nodes, "client-tls": [*nodes, service, f"{service}.cluster.local", "localhost", "127.0.0.1"]}
    for volume, names in wanted.items():
        certificate = made.get(mounted.get(volume), None)
        if certificate:
            missing = [n for n in names if not covers(certificate, n)]
            if missing:
                yield f"the certificate of {volume} does not name {missing}"
    peer = made.get(mounted.get("peer-tls"))
    if peer and not {"server auth", "client auth"} <= set(peer["usages"]):
        yield "nodes cannot show each other the certificate both ways"


def covers(certificate, name):
    """Whether a certificate is good for a host (RFC 6125: a star is one label)."""
    try:
        ipaddress.ip_address(name)
        return name in certificate.get("ipAddresses", [])
    except ValueError:
        names = certificate.get("dnsNames", [])
        return name in names or f"*.{name.partition('.')[2]}" in names


def security(o):
    """Open on purpose, or encrypted and authenticated: never half of it."""
    encrypted = {"QUORATE_TLS_CLIENT_CERT", "QUORATE_TLS_PEER_CERT", "QUORATE_TLS_PEER_CA"} <= set(o.env)
    authenticated = o.env.get("QUORATE_AUTH") == "true"
    if not (encrypted and authenticated) and o.env.get("QUORATE_INSECURE") != "true":
        yield "neither secure nor said to be insecure: no node would start"
    calls = {"QUORATE_CA": encrypted, "QUORATE_USER": authenticated, "QUORATE_PASSWORD_FILE": authenticated}
    yield from (f"the preStop hook lacks {name}" for name, needed in calls.items() if needed and name not in o.env)
    if encrypted and authenticated and o.env.get("QUORATE_INSECURE"):
        yield "secure, and said to be insecure"


RULES = [
    selectors,
    monitors,
    namespaces,
    named_ports,
    config_ports,
    policies_cover_ports,
    volumes,
    paths,
    references,
    quantities,
    peers,
    grace,
    probes,
    stateful_set,
    hardening,
    certificates,
    security,
]
