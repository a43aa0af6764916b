"""Alerts and dashboard: what they ask for exists, parses, does what it says, and is explained."""

import json
import pathlib
import re
import shutil
import subprocess
import unittest

import promql_parser
import render
import yaml

ROOT = render.DEPLOY.parent
RULES = render.CHART / "files" / "alerts.yaml"
DASHBOARD = render.CHART / "files" / "dashboard.json"
# Metrics that everything scraped has, from Prometheus itself.
OF_PROMETHEUS = {"up"}


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels():
    return [p for p in json.loads(DASHBOARD.read_text())["panels"] if p["type"] != "row"]


def expressions():
    """Where, and what."""
    found = [(rule["alert"], rule["expr"]) for rule in rules()]
    for panel in panels():
        found += [(panel["title"], t["expr"].replace("$__rate_interval", "5m")) for t in panel["targets"]]
    return found


def metrics_of(expression):
    """The names of the metrics in it; an error when it is not PromQL."""
    parsed = promql_parser.parse(expression)
    return set(re.findall(r"\b(?:quorate_\w+|up)\b", parsed.prettify()))


def documented():
    """Metrics by docs/metrics.md, with the names under which Prometheus has those of a histogram."""
    found = set()
    for line in (ROOT / "docs" / "metrics.md").read_text().splitlines():
        row = re.match(r"\| `(quorate_\w+)` \| (\w+) \|", line)
        if row:
            parts = ["_bucket", "_sum", "_count"] if row[2] == "histogram" else [""]
            found |= {row[1] + part for part in parts}
    return found


class Seeing(unittest.TestCase):
    def test_every_metric_that_is_asked_for_is_documented(self):
        known = documented() | OF_PROMETHEUS
        for where, expression in expressions():
            with self.subTest(where):
                used = metrics_of(expression)
                self.assertTrue(used, "it asks for nothing")
                self.assertEqual(used - known, set())

    def test_labels_that_expressions_name_are_those_of_the_metrics(self):
        text = (ROOT / "docs" / "metrics.md").read_text()
        known = set(re.findall(r"`(\w+)`", " ".join(line for line in text.splitlines() if line[:3] == "| `")))
        target = {"namespace", "exported_namespace", "job", "instance", "le"}
        for where, expression in expressions():
            named = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
            matched = re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expression)
            labels = {label.strip() for group in named for label in group.split(",")} | set(matched)
            with self.subTest(where):
                self.assertEqual(labels - known - target, set())

    def test_every_alert_is_explained_and_nothing_else_is(self):
        text = (ROOT / "docs" / "alerts.md").read_text()
        explained = re.findall(r"^### (\w+)\n\n(\w+)\.", text, re.MULTILINE)
        alerts = [(rule["alert"], rule["labels"]["severity"]) for rule in rules()]
        self.assertEqual(sorted(explained), sorted(alerts), "docs/alerts.md: name and severity")
        referred = set(re.findall(r"\*(Quorate\w+)\*", text))
        self.assertEqual(referred - {name for name, _ in alerts}, set())

    def test_reasons_that_are_named_exist(self):
        reasons = (ROOT / "docs" / "reasons.md").read_text()
        named = {r for rule in rules() for m in re.findall(r'reason=~"([^"]*)"', rule["expr"]) for r in m.split("|")}
        missing = {r for r in named if f"`{r}`" not in reasons}
        self.assertEqual(missing, set())

    def test_every_alert_fires_in_its_test(self):
        fired = set(re.findall(r'alertname="(\w+)"}', pathlib.Path(__file__).with_name("alerts_test.yaml").read_text()))
        self.assertEqual(fired, {rule["alert"] for rule in rules()})

    def test_promtool_sees_them_fire(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool (Debian: prometheus) is not installed: alerts were parsed, not evaluated")
        here = pathlib.Path(__file__).parent
        tested = subprocess.run(
            ["promtool", "test", "rules", "alerts_test.yaml"], cwd=here, capture_output=True, text=True
        )
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)

    def test_panels_are_told_apart_and_explained(self):
        ids = [p["id"] for p in panels()]
        self.assertEqual(len(ids), len(set(ids)))
        places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels()]
        self.assertEqual(len(places), len(set(places)), "two panels are at one place")

    def test_nonsense_is_found(self):
        with self.assertRaises(ValueError):
            metrics_of("rate(quorate_ready)) > 1")
        self.assertEqual(metrics_of("sum(rate(quorate_x_total[5m])) > 0"), {"quorate_x_total"})


if __name__ == "__main__":
    unittest.main()
