"""Monitors, rules and dashboards."""

import json
import re

import pytest
import yaml

from cases import MONITOR, RUNBOOK
from chart import CHART, NAMESPACE, render, rendered


@pytest.mark.parametrize(
    ("case", "kind", "endpoints"),
    [("service-monitor", "ServiceMonitor", "endpoints"), ("pod-monitor", "PodMonitor", "podMetricsEndpoints")],
)
def test_a_monitor(case, kind, endpoints):
    monitor = rendered(case).the(kind)
    metadata = monitor["metadata"]
    assert metadata["namespace"] == "monitoring" and metadata["annotations"] == MONITOR["annotations"]
    assert metadata["labels"]["release"] == "prometheus"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [NAMESPACE]}
    (endpoint,) = monitor["spec"][endpoints]
    fields = ("interval", "scrapeTimeout", "honorLabels", "relabelings", "metricRelabelings")
    assert endpoint == {"port": "admin", "path": "/metrics"} | {field: MONITOR[field] for field in fields}


def test_a_monitor_in_the_programs_namespace_needs_no_selector():
    monitor = rendered("observability").the("ServiceMonitor")
    assert "namespaceSelector" not in monitor["spec"]
    assert monitor["spec"]["endpoints"] == [{"port": "admin", "path": "/metrics"}]


def alerts(groups):
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_the_rules_are_those_of_the_file():
    rule = rendered("observability").the("PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "files/rules.yaml").read_text())
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert "runbook_url" not in rendered("observability").text


def test_alerts_can_be_left_out_changed_and_linked():
    original = alerts(yaml.safe_load((CHART / "files/rules.yaml").read_text())["groups"])
    rule = rendered("observability-elsewhere").the("PrometheusRule")
    assert rule["metadata"]["annotations"] == {"a": "b"}
    changed = alerts(rule["spec"]["groups"])
    assert original.keys() - changed.keys() == {"PodIdentityWebhookSlow"}
    absent = changed["PodIdentityWebhookAbsent"]
    assert (absent["for"], absent["labels"]["severity"]) == ("30m", "warning")
    for name, alert in changed.items():
        assert alert["annotations"].pop("runbook_url") == f"{RUNBOOK}#{name.lower()}"
        if alert is not absent:
            assert alert == original[name]


def test_a_group_without_rules_is_left_out():
    names = list(alerts(yaml.safe_load((CHART / "files/rules.yaml").read_text())["groups"]))
    groups = render({"prometheusRule": {"enabled": True, "disabled": names}}).the("PrometheusRule")["spec"]["groups"]
    assert [group["name"] for group in groups] == ["eks-pod-identity-webhook.recording"]


def test_dashboards_are_shipped_as_they_are():
    out = rendered("observability")
    for dashboard in out.all("ConfigMap"):
        ((file, text),) = dashboard["data"].items()
        assert text.strip() == (CHART / "files/dashboards" / file).read_text().strip()
        assert dashboard["metadata"]["annotations"] == {"grafana_folder": "AWS"}
        assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert len(out.all("ConfigMap")) == len([*(CHART / "files/dashboards").glob("*.json")])
    assert not out.all("GrafanaDashboard")


def test_dashboards_link_to_the_runbook():
    for dashboard in rendered("observability-elsewhere").all("ConfigMap"):
        ((file, text),) = dashboard["data"].items()
        original = json.loads((CHART / "files/dashboards" / file).read_text())
        linked = json.loads(text)
        *links, runbook = linked.pop("links")
        assert (runbook["title"], runbook["url"]) == ("Runbook", RUNBOOK)
        assert links == original.pop("links")
        for panel in all_panels(linked):
            section = re.search(r"Runbook: (\w+)\.$", panel.get("description", ""))
            urls = [link["url"] for link in panel.pop("links", [])]
            assert urls == ([f"{RUNBOOK}#{section[1].lower()}"] if section else [])
        assert linked == original


def all_panels(dashboard):
    return [panel for row in dashboard["panels"] for panel in [row, *row.get("panels", [])]]


def test_dashboards_of_the_grafana_operator():
    out = rendered("observability-elsewhere")
    for dashboard, config_map in zip(out.all("GrafanaDashboard"), out.all("ConfigMap"), strict=True):
        assert dashboard["metadata"]["namespace"] == config_map["metadata"]["namespace"]
        spec = dict(dashboard["spec"])
        assert spec.pop("configMapRef") == {"name": config_map["metadata"]["name"], "key": next(iter(config_map["data"]))}
        assert spec == {
            "instanceSelector": {"matchLabels": {"grafana": "ours"}},
            "allowCrossNamespaceImport": False,
            "folder": "AWS",
        }
