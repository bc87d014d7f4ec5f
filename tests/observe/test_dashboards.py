"""The conventions of the dashboards: the rules of Grafana's dashboard-linter, by their names there, and ours."""

import re

import pytest

from expressions import DASHBOARDS, ROOT, panels, selectors

UNITS = {"short", "none", "percentunit", "bytes", "s", "ops", "reqps"}
SHARED = ["datasource", "cluster", "namespace", "job", "instance"]
TEMPLATED = {"type": "prometheus", "uid": "${datasource}"}
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
        assert variable["type"] == "query" and variable["datasource"] == TEMPLATED
        assert variable["multi"] and variable["includeAll"] and variable["refresh"] == 2
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
    assert dashboard["panels"][0]["type"] == "row", "a row tells what the panels below it are about"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


@each
def test_panels_do_not_overlap(dashboard):
    taken = set()
    for panel in dashboard["panels"]:
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


@each
def test_targets(dashboard):
    """target-job-rule, target-instance-rule, target-rate-interval-rule, target-counter-agg-rule"""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            found = selectors(target["expr"])
            assert found, target["expr"]
            for metric, matchers, window, before in found:
                check_selector(metric, matchers, panel["title"])
                if COUNTER.search(metric):
                    assert re.search(r"\b(rate|increase)\($", before) and window, f"{panel['title']}: {metric} is a counter"
                if before.endswith("rate("):
                    assert window == "[$__rate_interval]", f"{panel['title']}: {target['expr']}"


def check_selector(metric, matchers, where):
    # kube-apiserver is another job; .lint lists its panels for the linter.
    names = ["cluster"] if metric.startswith("apiserver_") else SHARED[1:]
    for name in names:
        assert f'{name}=~"${name}"' in matchers, f"{where}: {metric}"


def test_what_the_linter_is_told_to_leave_out_is_only_the_panels_of_the_api_server():
    yaml = pytest.importorskip("yaml")
    exclusions = yaml.safe_load((ROOT / "dashboards/.lint").read_text())["exclusions"]
    listed = {entry["panel"] for entry in exclusions["target-job-rule"]["entries"]}
    of_apiserver = {
        panel["title"] for dashboard in DASHBOARDS.values() for panel in panels(dashboard)
        if any("apiserver_" in target["expr"] for target in panel["targets"])
    }
    assert listed == of_apiserver
