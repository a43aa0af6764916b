"""The image as it ships, where a Docker engine answers: three containers of it that may do nothing they need not.

The last stage of the Dockerfile is what ships, so that is what is built here, from the program that is there already; the stage
that compiles it takes a registry and a quarter of an hour, and is built with `$QUORATE_IMAGE=build`.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest
import uuid

import binary
import render

DOCKERFILE = render.DEPLOY / "docker" / "Dockerfile"
NODES = 3
PATIENCE_SECONDS = 60


def docker(*arguments, check=True):
    # The builder of old is in every engine; the other one is a plugin. What is built here needs nothing of it.
    environment = {"DOCKER_BUILDKIT": "0"} | os.environ
    ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=1800, env=environment)
    if check and ended.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: {ended.stderr}{ended.stdout}")
    return ended


def engine_answers():
    if not shutil.which("docker"):
        return False
    try:
        return subprocess.run(["docker", "version"], capture_output=True, timeout=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def until(what, look):
    """Waits until `look` finds something, and says what it saw last when it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found, seen = look()
        if found:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE_SECONDS} s for {what}; last: {seen}")
        time.sleep(0.2)


def context(directory):
    """A directory to build the last stage in: the program, what it is linked with if it is not static, and a Dockerfile."""
    image = pathlib.Path(directory, "image")
    (image / "data").mkdir(parents=True)
    shutil.copy(binary.path(), image / "quorate")
    linked = subprocess.run(["ldd", binary.path()], capture_output=True, text=True).stdout
    libraries = re.findall(r"(/\S+)", linked)
    for library in libraries:
        there = pathlib.Path(directory, "libraries" + library)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, there)
    final = "FROM scratch\n" + DOCKERFILE.read_text().rpartition("\nFROM scratch\n")[2]
    if libraries:
        final = final.replace("FROM scratch\n", "FROM scratch\nCOPY libraries/ /\n", 1)
    text = f"FROM scratch AS build\nCOPY image/ /image/\n\n{final}"
    pathlib.Path(directory, "Dockerfile").write_text(text)


@unittest.skipUnless(engine_answers(), "no Docker engine answers: the image was not built, no container ran")
class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tag = f"quorate-check:{uuid.uuid4().hex[:8]}"
        cls.addClassCleanup(docker, "image", "rm", "--force", cls.tag, check=False)
        if os.environ.get("QUORATE_IMAGE") == "build":
            docker("build", "--quiet", "--file", str(DOCKERFILE), "--tag", cls.tag, str(render.DEPLOY.parent))
        else:
            with tempfile.TemporaryDirectory() as directory:
                context(directory)
                docker("build", "--quiet", "--tag", cls.tag, directory)

    def setUp(self):
        self.network = f"quorate-check-{uuid.uuid4().hex[:8]}"
        docker("network", "create", "--internal", self.network)
        self.addCleanup(docker, "network", "rm", self.network, check=False)
        peers = ",".join(f"{n}={self.name(n)}:7421" for n in range(1, NODES + 1))
        for node in range(1, NODES + 1):
            self.start(node, peers)

    def name(self, node):
        return f"{self.network}-{node}"

    def start(self, node, peers):
        told = {
            "QUORATE_NODE": node,
            "QUORATE_PEERS": peers,
            "QUORATE_ADVERTISE_CLIENT": f"{self.name(node)}:7411",
            "QUORATE_INSECURE": "true",
        }
        environment = [word for name, value in told.items() for word in ("--env", f"{name}={value}")]
        limits = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--memory=512m"]
        name = self.name(node)
        docker("run", "--detach", "--name", name, "--network", self.network, *limits, *environment, self.tag)
        self.addCleanup(docker, "rm", "--force", "--volumes", name, check=False)

    def health(self, node):
        state = json.loads(docker("inspect", self.name(node)).stdout)[0]["State"]
        return state["Health"]["Status"] == "healthy", state

    def quorate(self, node, *arguments):
        """A command of the program inside a container: there is no other one."""
        return docker("exec", self.name(node), "/quorate", *arguments, check=False)

    def test_three_containers_form_a_cluster_and_stop_when_they_are_told(self):
        for node in range(1, NODES + 1):
            until(f"container {node} to be healthy", lambda node=node: self.health(node))
        nodes = ["--nodes", ",".join(f"{self.name(n)}:7411" for n in range(1, NODES + 1))]
        created = self.quorate(1, "topic", "create", "orders", *nodes)
        self.assertEqual(created.returncode, 0, created.stderr)
        published = self.quorate(2, "publish", "orders", "a book", *nodes)
        self.assertEqual(published.returncode, 0, published.stderr)

        config = json.loads(docker("inspect", self.name(1)).stdout)[0]["Config"]
        self.assertEqual(config["User"], "10001:10001")
        started = time.monotonic()
        docker("stop", "--time", "30", self.name(1))
        took = time.monotonic() - started
        code = json.loads(docker("inspect", self.name(1)).stdout)[0]["State"]["ExitCode"]
        self.assertEqual(code, 0, "it was killed, or failed")
        self.assertLess(took, 15, "SIGTERM was not heard")

        again = self.quorate(2, "publish", "orders", "another", *nodes)
        self.assertEqual(again.returncode, 0, f"two of three are a majority: {again.stderr}")
        docker("start", self.name(1))
        until("the container that was stopped to be healthy again", lambda: self.health(1))


if __name__ == "__main__":
    unittest.main()
