"""The program under check: `$QUORATE_BIN`, or what cargo builds."""

import functools
import json
import os
import subprocess

import render

ROOT = render.DEPLOY.parent


@functools.cache
def path():
    given = os.environ.get("QUORATE_BIN")
    if given:
        return given
    build = ["cargo", "build", "--quiet", "--locked", "--package", "quorate-cli", "--message-format=json"]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    if built.returncode:
        raise RuntimeError(f"the program does not build: {built.stderr}")
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    return [m["executable"] for m in messages if m.get("executable")][-1]


def run(*arguments, environment=None):
    """The exit status and everything that was said, without settings from this environment."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("QUORATE_")}
    ended = subprocess.run(
        [path(), *arguments], env=kept | (environment or {}), capture_output=True, text=True, timeout=60
    )
    return ended.returncode, ended.stdout + ended.stderr


@functools.cache
def settings():
    """Environment variables that the node knows, and the commands that are called beside it."""
    texts = [run(*command, "--help")[1] for command in [("serve",), ("cluster", "status"), ("health",)]]
    return {part.split("=")[0].rstrip("]") for text in texts for part in text.split("[env: ")[1:]}
