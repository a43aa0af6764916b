"""What deploy/ tells the program is what the program understands."""

import configparser
import pathlib
import re
import shutil
import subprocess
import tempfile
import tomllib
import unittest

import binary
import consistency
import render
import yaml

ROOT = render.DEPLOY.parent
EVERYTHING = {
    "insecure": False,
    "replicas": 5,
    "tls": {"enabled": True, "clientCertificates": True},
    "auth": {"enabled": True, "jwksConfigMap": "tokens", "jwtIssuer": "https://issuer", "jwtAudience": "quorate"},
}


def understood(environment, config=None, arguments=()):
    """What `quorate serve` makes of settings, as the file that it prints; with everything that it complained of."""
    with tempfile.TemporaryDirectory() as directory:
        if config is not None:
            file = pathlib.Path(directory, "quorate.toml")
            file.write_text(config)
            arguments = [*arguments, "--config", str(file)]
        status, said = binary.run("serve", "--print-config", *arguments, environment=environment)
    complaints = [line for line in said.splitlines() if line.startswith(("warning:", "error:"))]
    return status, complaints, tomllib.loads(said) if status == 0 and not complaints else said


def of_image():
    """The environment that every container has from its image."""
    return dict(re.findall(r"\b(QUORATE_\w+)=(\S+)", (render.DEPLOY / "docker" / "Dockerfile").read_text()))


class Kubernetes(unittest.TestCase):
    def variants(self):
        for directory, variant in render.variants().items():
            yield directory, consistency.Objects(render.helm(variant.merged()).values())
        everything = render.merge(render.variants()["overlays/three-zones-tls"].merged(), EVERYTHING)
        yield "everything", consistency.Objects(render.helm(everything).values())

    def test_every_pod_understands_its_settings(self):
        for directory, objects in self.variants():
            config = objects.named("ConfigMap", objects.name)["data"]["quorate.toml"]
            first = len(objects.environment(0)["QUORATE_PEERS"].split(","))
            for ordinal in range(objects.set["spec"]["replicas"]):
                with self.subTest(directory, ordinal=ordinal):
                    # Before Kubernetes 1.35 a pod does not know its zone.
                    told = of_image() | objects.environment(ordinal, zone="a" if ordinal else "")
                    status, complaints, printed = understood(told, config)
                    self.assertEqual((status, complaints), (0, []), printed)
                    self.assertEqual(printed["node"], ordinal + 1)
                    self.assertEqual(len(printed["peers"]), first)
                    self.assertEqual(printed["listen"], objects.config()["listen"])
                    self.assertEqual(printed["advertise"]["client"], told["QUORATE_ADVERTISE_CLIENT"])

    def test_every_variable_is_a_setting(self):
        for directory, objects in self.variants():
            named = {n for n in objects.env if n.startswith("QUORATE_")}
            with self.subTest(directory):
                self.assertEqual(named - binary.settings(), set())

    def test_the_hook_is_a_command(self):
        for directory, objects in self.variants():
            with self.subTest(directory):
                assert_command(self, consistency.drain(objects)[1:])

    def test_pages_that_are_probed_are_served(self):
        served = (ROOT / "crates" / "node" / "src" / "http.rs").read_text()
        for page in [*consistency.PROBES.values(), "/metrics"]:
            self.assertIn(f'.route("{page}"', served)

    def test_stop_is_as_short_as_the_checks_believe(self):
        serve = (ROOT / "crates" / "cli" / "src" / "commands" / "serve.rs").read_text()
        stop = re.search(r"STOP_WITHIN: Duration = Duration::from_millis\(([\d_]+)\)", serve)
        self.assertLessEqual(int(stop[1].replace("_", "")), consistency.STOP_SECONDS * 1000)


def assert_command(case, words):
    """The program knows the command and its flags: it would show its help."""
    status, said = binary.run(*words, "--help")
    case.assertEqual(status, 0, f"quorate {' '.join(words)}: {said}")


class Machines(unittest.TestCase):
    def test_the_example_file_is_understood(self):
        text = (render.DEPLOY / "quorate.toml").read_text()
        status, complaints, printed = understood({}, text)
        self.assertEqual((status, complaints), (0, []), printed)

    def test_systemd_understands_the_unit(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed: the unit was not verified")
        text = (render.DEPLOY / "systemd" / "quorate.service").read_text()
        with tempfile.TemporaryDirectory() as directory:
            unit = pathlib.Path(directory, "quorate.service")
            unit.write_text(text.replace("/usr/local/bin/quorate", binary.path()))
            command = ["systemd-analyze", "verify", "--recursive-errors=no", str(unit)]
            verified = subprocess.run(command, capture_output=True, text=True)
        complaints = [line for line in verified.stderr.splitlines() if "quorate" in line]
        self.assertEqual((verified.returncode, complaints), (0, []))

    def test_the_unit_starts_what_is_there_and_gives_it_time(self):
        text = (render.DEPLOY / "systemd" / "quorate.service").read_text()
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str
        unit.read_string(text)
        service = unit["Service"]
        program, *arguments = service["ExecStart"].split()
        self.assertEqual(program, "/usr/local/bin/quorate")
        assert_command(self, arguments)
        self.assertGreater(int(service["TimeoutStopSec"].rstrip("s")), consistency.STOP_SECONDS)

    def test_the_installation_names_files_that_are_there(self):
        text = (render.DEPLOY / "README.md").read_text()
        for path in re.findall(r"\bdeploy/[\w./-]+\b", text):
            self.assertTrue((ROOT / path).exists(), path)


class Containers(unittest.TestCase):
    def setUp(self):
        docker = render.DEPLOY / "docker"
        self.dockerfile = (docker / "Dockerfile").read_text()
        self.services = yaml.safe_load((docker / "compose.yaml").read_text())["services"]

    def environment(self, service):
        return of_image() | {n: str(v) for n, v in service.get("environment", {}).items()}

    def test_compose_nodes_understand_their_settings_and_know_each_other(self):
        lists = set()
        for number, (name, service) in enumerate(self.services.items(), start=1):
            told = self.environment(service)
            self.assertEqual(set(told) - binary.settings(), set())
            status, complaints, printed = understood(told)
            self.assertEqual((status, complaints), (0, []), printed)
            self.assertEqual(printed["node"], number)
            self.assertIn(f"{number}={name}:7421", printed["peers"])
            lists.add(tuple(printed["peers"]))
        self.assertEqual(len(lists), 1, "the same list for all")
        self.assertEqual(len(lists.pop()), len(self.services))

    def test_compose_nodes_may_do_no_more_than_they_must(self):
        volumes = []
        for name, service in self.services.items():
            with self.subTest(name):
                self.assertTrue(service["read_only"])
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
                self.assertGreater(int(service["stop_grace_period"].rstrip("s")), consistency.STOP_SECONDS)
                for port in service["ports"]:
                    self.assertTrue(port.startswith("127.0.0.1:"), f"{port} is open to the network")
            volumes += service["volumes"]
        self.assertEqual(len(volumes), len(set(volumes)), "a directory belongs to one node")

    def test_image_runs_the_program_as_nobody_and_asks_it_for_its_health(self):
        final = self.dockerfile.rpartition("\nFROM ")[2]
        self.assertTrue(final.startswith("scratch"), "nothing but the program is in the image")
        self.assertRegex(final, r"\nUSER 10001:10001\n")
        health = re.search(r'HEALTHCHECK .*\\?\n?.*CMD \["/quorate", (.*)\]', final)
        assert_command(self, re.findall(r'"([^"]*)"', health[1]))
        [command] = re.findall(r"\nCMD (.*)", final)
        assert_command(self, re.findall(r'"([^"]*)"', command))
        toolchain = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
        self.assertIn(f"rust:{toolchain}", self.dockerfile)


class Documents(unittest.TestCase):
    def test_commands_that_are_named_exist(self):
        for document in [render.DEPLOY / "README.md", ROOT / "docs" / "alerts.md", render.CHART / "templates" / "NOTES.txt"]:
            named = re.findall(r"(?:`| /)quorate\s([a-z-]+(?:\s[a-z-]+)?)", document.read_text())
            self.assertTrue(named or document.name == "README.md", document)
            for command in sorted(set(named)):
                with self.subTest(document.name, command=command):
                    assert_command(self, command.split())


if __name__ == "__main__":
    unittest.main()
