"""The verdict of the upgrade dashboard on made-up series, by promtool: each ratio is exact, and nothing is concluded from nothing."""

import subprocess

import pytest
import yaml

from expressions import DASHBOARDS, interpolated, panels

VARIABLES = {"range": "60m", "baseline": "1.0", "candidate": "1.1", "before": "30m", "window": "10m"}
VERDICT = {panel["title"]: interpolated(panel["targets"][0]["expr"], VARIABLES) for panel in panels(DASHBOARDS["upgrade"]) if panel["type"] == "stat"}
TABLE = next(panel for panel in panels(DASHBOARDS["upgrade"]) if panel["type"] == "table")
BOUNDS = [0.001, 0.002, 0.004, 0.008]


def replica(instance, version, life, latency=0.002, cpu=6, memory=100, unavailable=0):
    """A replica that answers 600 admissions a minute, as promtool's series. `life` is when it runs, in minutes."""
    labels = f'cluster="c", namespace="n", job="j", instance="{instance}"'
    begin, end = life

    def values(start, step):
        return f"{'_x' + str(begin) + ' ' if begin else ''}{start}+{step}x{end - begin} stale"

    def series(name, more, step, start=0):
        return {"series": f"{name}{{{labels}{more}}}", "values": values(start, step)}

    buckets = {str(bound): 600 if bound >= latency else 0 for bound in BOUNDS} | {"+Inf": 600}
    return [
        series("pod_identity_webhook_build_info", f', version="{version}"', 0, 1),
        *[series("pod_identity_webhook_admission_duration_seconds_bucket", f', le="{bound}"', count) for bound, count in buckets.items()],
        series("pod_identity_webhook_admissions_total", ', outcome="injected"', 600 - unavailable),
        series("pod_identity_webhook_admissions_total", ', outcome="unavailable"', unavailable),
        series("process_cpu_seconds_total", "", cpu),
        series("process_resident_memory_bytes", "", 0, memory),
    ]


def evaluate(folder, series, expected):
    """Holds expressions to their values at minute 60: {expression: {labels: value}}."""
    tests = [{"expr": f"round({expression}, 0.0001)", "eval_time": "60m", "exp_samples": [{"labels": labels, "value": value} for labels, value in samples.items()]}
             for expression, samples in expected.items()]
    path = folder / "verdict.yaml"
    path.write_text(yaml.safe_dump({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


OLD = [*replica("a", "1.0", (0, 40)), *replica("b", "1.0", (0, 40))]


@pytest.mark.parametrize("worse, changed", [
    ({}, {}),
    ({"latency": 0.004}, {"Latency, p50": 2, "Latency, p99": 2}),
    ({"cpu": 9}, {"CPU per admission": 1.5}),
    ({"memory": 120}, {"Memory per replica": 1.2}),
    # A share of 0.5%, and the budget of 0.1% on both sides.
    ({"unavailable": 3}, {"Unanswered": 6}),
])
def test_each_ratio_and_the_worst(tmp_path, worse, changed):
    """Two replicas of the baseline until minute 40, then two of the candidate: rates of both never overlap."""
    new = [*replica("c", "1.1", (41, 60), **worse), *replica("d", "1.1", (41, 60), **worse)]
    ratios = {"Latency, p50": 1, "Latency, p99": 1, "CPU per admission": 1, "Memory per replica": 1, "Unanswered": 1}
    ratios |= changed
    expected = {VERDICT[title]: {"{}": value} for title, value in ratios.items()}
    evaluate(tmp_path, [*OLD, *new], expected | {VERDICT["Verdict"]: {"{}": max(ratios.values())}})


@pytest.mark.parametrize("series", [
    OLD,
    [*replica("c", "1.1", (41, 60))],
    [*OLD, *[each for each in replica("c", "1.1", (41, 60)) if "bucket" not in each["series"]]],
], ids=["no candidate", "no baseline", "no latencies"])
def test_no_verdict_without_both_sides(tmp_path, series):
    evaluate(tmp_path, series, {VERDICT["Verdict"]: {}})


def test_the_same_address_may_run_both_versions(tmp_path):
    """As with hostNetwork, or a process that is restarted in place."""
    series = [*replica("a", "1.0", (0, 40)), *replica("a", "1.1", (41, 60), cpu=9)]
    merged = {}
    for each in series:
        before = merged.get(each["series"])
        # The second life follows the first, and its counters begin anew.
        merged[each["series"]] = f"{before} {each['values'].split(' ', 1)[1]}" if before else each["values"]
    evaluate(tmp_path, [{"series": name, "values": values} for name, values in merged.items()], {VERDICT["CPU per admission"]: {"{}": 1.5}})


def test_differences_of_outcomes(tmp_path):
    shares = [interpolated(target["expr"], VARIABLES) for target in TABLE["targets"]]
    columns = [{"injected": 1, "unavailable": 0}, {"injected": 0.95, "unavailable": 0.05}, {"injected": -0.05, "unavailable": 0.05}]
    expected = {share: {f'{{outcome="{name}"}}': value for name, value in column.items()} for share, column in zip(shares, columns)}
    evaluate(tmp_path, [*OLD, *replica("c", "1.1", (41, 60), unavailable=30)], expected)
