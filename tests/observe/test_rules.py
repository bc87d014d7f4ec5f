"""Every alert is documented and tested; dashboards/check runs promtool itself."""

import re

import pytest
import yaml

from expressions import ROOT, rules

ALERTS = rules("alert")
RUNBOOK = (ROOT / "docs/runbook.md").read_text()


@pytest.mark.parametrize("alert", ALERTS.values(), ids=ALERTS)
def test_an_alert_says_what_users_notice_and_what_to_do(alert):
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(alert["annotations"]) == {"summary", "description"}, "a link depends on where the pages are published; the chart adds it"
    assert all(text.endswith(".") for text in alert["annotations"].values())
    section = RUNBOOK.split(f"\n## {alert['alert']}\n")
    assert len(section) == 2, "the runbook has a section for it"
    assert len(section[1].split("\n## ")[0].split()) > 30, "which says something"


def test_the_runbook_has_no_other_sections():
    assert re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE) == list(ALERTS)
    links = re.findall(r"\(#([a-z]+)\)", RUNBOOK)
    assert set(links) <= {name.lower() for name in ALERTS}


def test_every_alert_has_a_case_that_fires_and_one_that_must_not():
    tests = yaml.safe_load((ROOT / "deploy/prometheus/rules_test.yaml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(ALERTS)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(ALERTS)
    assert all(test["input_series"] for test in tests)


@pytest.mark.parametrize("page", ["README.md", "docs/runbook.md", "docs/operate/compare-versions.md", "docs/operate/monitoring.md", "docs/operate/upgrade.md",
                                  "docs/reference/metrics.md", "deploy/prometheus/rules.yaml"])
def test_pages_name_only_metrics_that_exist(page):
    defined = set(re.findall(r"^### `([a-z0-9_]+)`", (ROOT / "docs/reference/metrics.md").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?<![:a-z_])pod_identity_webhook_[a-z0-9_]+(?!:)\b", (ROOT / page).read_text()))
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in named} - {"pod_identity_webhook_used"} <= defined


def test_recording_rules_are_named_by_level_metric_and_operation():
    assert all(re.fullmatch(r"job:pod_identity_webhook_[a-z_]+:[a-z0-9_]+", name) for name in rules("record"))
