"""What the dashboards show of a healthy cluster and of a rollout, under a real Prometheus."""

import re

import pytest

from expressions import DASHBOARDS, interpolated, panels

# Empty while nothing is wrong. `noValue` says so; test_dashboards.py checks that it says something.
EMPTY_WHEN_HEALTHY = {"Alerts", "Wait duration"}
ALL = {f"{name}: {panel['title']}": panel for name, dashboard in DASHBOARDS.items() for panel in panels(dashboard)}
OF_OVERVIEW = [panel for panel in panels(DASHBOARDS["overview"]) if panel["type"] == "stat"]
VERDICT = {panel["title"]: panel for panel in panels(DASHBOARDS["upgrade"]) if panel["type"] == "stat"}


def at_the_end(rollout, panel, target=0):
    return rollout.prometheus.at_the_end(interpolated(panel["targets"][target]["expr"], rollout.variables))


@pytest.mark.parametrize("panel", ALL.values(), ids=ALL)
def test_a_panel_has_data_while_all_is_well(rollout, panel):
    found = [rollout.prometheus.over_the_run(interpolated(target["expr"], rollout.variables)) for target in panel["targets"]]
    assert any(found) != (panel["title"] in EMPTY_WHEN_HEALTHY)


@pytest.mark.parametrize("panel", OF_OVERVIEW, ids=[panel["title"] for panel in OF_OVERVIEW])
def test_the_first_row_is_green_while_all_is_well(rollout, panel):
    """Latency apart: this machine may be busy."""
    if panel["title"] == "Admission latency, p99":
        return
    (value, *_) = [value for _, value in at_the_end(rollout, panel)]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    color = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    assert color in ("green", "text"), value


def test_ready_replicas_stand_beside_the_desired_number(rollout):
    panel = next(panel for panel in OF_OVERVIEW if panel["title"] == "Ready replicas")
    assert [value for target in (0, 1) for _, value in at_the_end(rollout, panel, target)] == [2, 2]


def test_the_verdict_is_the_worst_ratio(rollout):
    ratios = {title: at_the_end(rollout, panel) for title, panel in VERDICT.items()}
    [(_, verdict)] = ratios.pop("Verdict")
    assert len(ratios) == 5 and all(len(found) == 1 for found in ratios.values()), ratios
    assert verdict == max(value for [(_, value)] in ratios.values())
    print({title: round(value, 3) for title, [(_, value)] in ratios.items()})


def test_outcomes_of_both_versions_add_up(rollout):
    table = next(panel for panel in panels(DASHBOARDS["upgrade"]) if panel["type"] == "table")
    baseline, candidate, difference = [{labels["outcome"]: value for labels, value in at_the_end(rollout, table, column)} for column in range(3)]
    assert set(baseline) == set(candidate) == set(difference) == {"injected", "unchanged", "skipped", "unavailable", "invalid"}
    assert sum(baseline.values()) == pytest.approx(1) and sum(candidate.values()) == pytest.approx(1)
    assert baseline["injected"] > 0.8 and baseline["skipped"] > 0 and baseline["unavailable"] == 0


def test_the_rollout_is_marked(rollout):
    marks = {each["name"]: each["expr"] for each in DASHBOARDS["upgrade"]["annotations"]["list"]}
    found = rollout.prometheus.over_the_run(interpolated(marks["A version starts or ends"], rollout.variables))
    assert rollout.variables["candidate"] in {labels["version"] for labels, _ in found}


def test_largest_namespaces_are_chosen_by_the_range_not_by_the_moment():
    for panel in panels(DASHBOARDS["tenants"]):
        for target in panel["targets"]:
            assert all(re.match(r"[^@]*\[\$__range\] @ end\(\)", rest) for rest in target["expr"].split("topk")[1:]), panel["title"]
