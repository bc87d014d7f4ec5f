"""The conventions of the dashboards: the rules of Grafana's dashboard-linter, under their names there, and our own."""

import json
import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from expressions import DASHBOARDS, ROOT, panels, rules, selectors
from freshness import digest, drawn_from

UNITS = {"short", "percentunit", "bytes", "s", "ops", "reqps"}
SHARED = ["datasource", "cluster", "namespace", "job", "instance"]
CONFIG = tomllib.loads((ROOT / "dashboards/config.toml").read_text())
TEMPLATED = {"type": "prometheus", "uid": "${datasource}"}
# Counters that do not exist before the first failure: all that a new one counts happened in the time shown.
BORN_LATE = {f"apiserver_admission_webhook_{name}_count" for name in ("fail_open", "rejection")}
COUNTER = re.compile(r"_(total|bucket|sum|count)$")

each = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


def test_all_are_there():
    assert set(DASHBOARDS) == {"overview", "upgrade", "tenants"}


@each
def test_variables(dashboard):
    """template-datasource-rule, template-job-rule, template-instance-rule, template-on-time-change-reload-rule,
    template-label-promql-rule"""
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert list(variables)[:5] == SHARED
    datasource = variables.pop("datasource")
    assert (datasource["type"], datasource["query"], datasource["label"]) == ("datasource", "prometheus", "Data source")
    for name, variable in variables.items():
        if variable["type"] == "interval":
            assert variable["current"]["value"] in variable["query"].split(",") and variable["description"]
            continue
        assert variable["type"] == "query" and variable["datasource"] == TEMPLATED
        assert variable["refresh"] == 2
        if name in ("baseline", "candidate"):
            assert not variable["multi"] and not variable["includeAll"] and variable["query"]["query"].endswith(", version)")
            continue
        assert variable["multi"] and variable["includeAll"]
        # A Prometheus that scrapes one cluster gives its series no such label.
        assert variable["allValue"] == (".*" if name == "cluster" else ".+")
        assert variable["label"] and re.fullmatch(rf"label_values\(.+, {name}\)", variable["query"]["query"])
    assert variables["job"]["label"] == "Job" and variables["instance"]["label"] == "Instance"


@each
def test_dashboard(dashboard):
    """uneditable-dashboard-rule, and what Grafana's classic schema asks for"""
    assert dashboard["editable"] is False
    assert dashboard["schemaVersion"] == 42
    assert dashboard["title"] and dashboard["description"] and dashboard["uid"] and len(dashboard["uid"]) <= 40
    assert any(link["type"] == "dashboards" and link["tags"] == dashboard["tags"] for link in dashboard["links"])
    assert dashboard["panels"][0]["type"] == "row", "a row says what the panels below it are about"
    ids = [panel["id"] for row in dashboard["panels"] for panel in [row, *row.get("panels", [])]]
    assert len(set(ids)) == len(ids)


@each
def test_panels_do_not_overlap(dashboard):
    taken = set()
    for panel in [each for row in dashboard["panels"] for each in [row, *row.get("panels", [])]]:
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


@each
def test_panels(dashboard):
    """panel-datasource-rule, panel-title-description-rule, panel-units-rule, panel-no-targets-rule"""
    for panel in panels(dashboard):
        assert panel["datasource"] == TEMPLATED, panel["title"]
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        assert [target["refId"] for target in panel["targets"]] == [chr(65 + index) for index in range(len(panel["targets"]))]


        no_value = panel["fieldConfig"]["defaults"]["noValue"]
        assert no_value and no_value != "No data", f"{panel['title']} says what it means when there is no data"


def test_every_metric_is_in_a_panel():
    page = (ROOT / "docs/reference/metrics.md").read_text()
    documented = set(re.findall(r"^### `([a-z0-9_]+)`", page, re.MULTILINE))
    shown = {re.sub("_(bucket|sum|count)$", "", metric) for dashboard in DASHBOARDS.values() for panel in panels(dashboard)
             for target in panel["targets"] for metric, *_ in selectors(target["expr"])}
    assert documented - shown == {"process_virtual_memory_bytes", "process_threads"}, "these two never need an action"


@each
def test_colours_mean_something(dashboard):
    """A version keeps its colour, an outcome has one of its own, and whatever can be bad has thresholds."""
    for panel in panels(dashboard):
        defaults, title = panel["fieldConfig"]["defaults"], panel["title"]
        if panel["type"] == "timeseries":
            assert defaults["color"]["mode"] == "palette-classic-by-name", title
        legends = " ".join(target["legendFormat"] for target in panel["targets"])
        fixed = {override["matcher"]["options"]: override["properties"][0]["value"] for override in panel["fieldConfig"]["overrides"]}
        if legends == "{{outcome}}":
            assert {"injected", "unavailable", "invalid"} <= set(fixed), title
        if legends == "{{code}}":
            assert fixed["503"]["fixedColor"] == "red", title


def test_thresholds_are_where_the_alerts_fire():
    limits = CONFIG["thresholds"]
    expressions = {name: rule["expr"] for name, rule in rules("alert").items()}
    assert expressions["PodIdentityWebhookWatchStale"].endswith(f"> {limits['watch_staleness'][1]}")
    assert expressions["PodIdentityWebhookSlow"].endswith(f"> {limits['latency_p99'][1]}")
    assert expressions["PodIdentityWebhookConnectionsNearLimit"].endswith(f"> {limits['connections'][1]}")
    days, hours = [int(limit / unit) for limit, unit in zip(limits["certificate_expiry"], (86400, 3600))]
    assert expressions["PodIdentityWebhookCertificateExpiresSoon"].endswith(f"< {days} * 24 * 3600")
    assert expressions["PodIdentityWebhookCertificateExpiresNow"].endswith(f"< {hours} * 3600")


def test_a_description_names_a_section_of_the_runbook():
    named = [found for dashboard in DASHBOARDS.values() for panel in panels(dashboard) for found in re.findall(r"Runbook: (\w+)\.$", panel["description"])]
    assert len(named) > 20 and set(named) <= set(rules("alert"))


@pytest.fixture(scope="module")
def configured(tmp_path_factory):
    """Dashboards and rules by another configuration."""
    folder = tmp_path_factory.mktemp("configured")
    config = (ROOT / "dashboards/config.toml").read_text()
    config = config.replace('runbook = ""', 'runbook = "https://docs.example.com/runbook"').replace('audit = ""', 'audit = "https://docs.example.com/audit"')
    config = config.replace("[0.1, 0.25]", "[0.2, 0.5]").replace("disabled = []", 'disabled = ["PodIdentityWebhookMixedVersions"]')
    (folder / "mine.toml").write_text(config + 'PodIdentityWebhookSlow = { for = "30m", severity = "info" }\n')
    command = [sys.executable, ROOT / "dashboards/generate.py", "--config", folder / "mine.toml", "--output", folder]
    subprocess.run(command, check=True)
    return folder


def test_with_a_published_runbook_panels_link_to_their_section(configured):
    overview = json.loads((configured / "overview.json").read_text())
    for panel in panels(overview):
        if found := re.search(r"Runbook: (\w+)\.$", panel["description"]):
            assert panel["links"][0]["url"] == f"https://docs.example.com/runbook#{found[1].lower()}", panel["title"]
    without_role = next(panel for panel in panels(overview) if panel["title"] == "Pods admitted without a role")
    assert without_role["links"][1]["url"] == "https://docs.example.com/audit"
    assert any(link["url"] == "https://docs.example.com/runbook" for link in overview["links"] if link["type"] == "link")
    shipped = [panel for dashboard in DASHBOARDS.values() for panel in panels(dashboard)]
    assert not any("links" in panel for panel in shipped), "a link depends on where the pages are published; the chart adds it"


def test_thresholds_and_alerts_follow_the_configuration(configured):
    p99 = next(panel for panel in panels(json.loads((configured / "overview.json").read_text())) if panel["title"] == "Admission latency, p99")
    assert [step["value"] for step in p99["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [None, 0.2, 0.5]
    subprocess.run(["promtool", "check", "rules", configured / "rules.yaml"], check=True, capture_output=True)
    alerts = {rule["alert"]: rule for group in yaml.safe_load((configured / "rules.yaml").read_text())["groups"] for rule in group["rules"] if "alert" in rule}
    assert set(rules("alert")) - set(alerts) == {"PodIdentityWebhookMixedVersions"}
    slow = alerts["PodIdentityWebhookSlow"]
    assert (slow["for"], slow["labels"], slow["annotations"]["runbook_url"]) == ("30m", {"severity": "info"}, "https://docs.example.com/runbook#podidentitywebhookslow")


@each
def test_targets(dashboard):
    """target-job-rule, target-instance-rule, target-rate-interval-rule, target-counter-agg-rule"""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            found = selectors(target["expr"])
            assert found, target["expr"]
            for metric, matchers, window, before in found:
                check_selector(metric, matchers, panel["title"])
                if COUNTER.search(metric) and (metric not in BORN_LATE or "unless" not in target["expr"]):
                    counted = re.search(r"\b(rate|increase|group by \([a-z, ]+\)|count by \([a-z_, ]+\)) ?\($", before)
                    assert counted and (window or "rate" not in counted[1]), f"{panel['title']}: {metric} is a counter"
                if before.endswith("rate("):
                    assert window in ("[$__rate_interval]", "[$window]"), f"{panel['title']}: {target['expr']}"


def check_selector(metric, matchers, where):
    if metric.startswith("job:"):
        return
    # Other jobs have these; .lint lists their panels for the linter.
    other = {"apiserver": ["cluster"], "kube": ["cluster", "namespace"], "ALERTS": ["cluster"]}
    names = other.get(metric.split("_")[0], SHARED[1:])
    for name in names:
        assert f'{name}=~"${name}"' in matchers, f"{where}: {metric}"


def test_lint_excludes_only_the_panels_of_other_jobs():
    exclusions = yaml.safe_load((ROOT / "dashboards/.lint").read_text())["exclusions"]
    others = {panel["title"] for dashboard in DASHBOARDS.values() for panel in panels(dashboard)
              if any(re.search("apiserver_|kube_|ALERTS", target["expr"]) for target in panel["targets"])}
    for rule in ("target-job-rule", "target-instance-rule"):
        assert {entry["panel"] for entry in exclusions[rule]["entries"]} == others


@pytest.mark.parametrize("name", DASHBOARDS)
@pytest.mark.skipif("OBSERVE_DRAW" in os.environ, reason="the pictures are drawn at the end of this run")
def test_a_picture_is_as_new_as_its_dashboard(name):
    assert drawn_from(name) == digest(name), f"{name} has changed since docs/pictures/{name}.png was drawn; run dashboards/check --draw"
