"""The expressions of dashboards and rules, and the little PromQL that is needed to inspect them."""

import json
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text())
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "dashboards").glob("*.json"))}

METRIC = re.compile(r"\b((?:pod_identity_webhook|process|apiserver|kube)_[a-z0-9_]+|ALERTS|job:[a-z0-9_:]+)(\{[^}]*\})?(\[[^\]]+\])?")


def rules(kind):
    """The rules of a kind, `alert` or `record`, by name."""
    return {rule[kind]: rule for group in RULES["groups"] for rule in group["rules"] if kind in rule}


def panels(dashboard):
    """The panels with queries, including those in collapsed rows."""
    inner = [panel for row in dashboard["panels"] for panel in row.get("panels", [])]
    return [panel for panel in [*dashboard["panels"], *inner] if panel["type"] not in ("row", "text")]


def selectors(expression):
    """Each selector as metric, matchers, range, and the text before it."""
    return [(found[1], found[2] or "", found[3] or "", expression[: found.start()]) for found in METRIC.finditer(expression)]


def interpolated(text, variables):
    """Replaces variables as Grafana does when everything is selected. `variables` has those that depend on the run."""
    for name, value in {"__rate_interval": "10s", "__range": variables["range"], "cluster": ".*"}.items():
        text = text.replace(f"${name}", value)
    for name in ("baseline", "candidate", "before", "window"):
        text = text.replace(f"${name}", variables[name])
    text = re.sub(r"\$(namespace|job|instance|pod_namespace)\b", ".+", text)
    assert "$" not in text.replace('"$1"', ""), text
    return text


def of_dashboards():
    """Every expression of every panel and annotation, with its place."""
    for name, dashboard in DASHBOARDS.items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield f"{name}: {panel['title']} ({target['refId']})", target["expr"]
        for annotation in dashboard["annotations"]["list"]:
            if not annotation.get("builtIn"):
                yield f"{name}: annotation {annotation['name']}", annotation["expr"]
