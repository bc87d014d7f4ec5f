"""Docs, dashboards and rules, compared with a run in which everything happens, under a real Prometheus."""

import gzip
import json
import re
import subprocess

import pytest

from expressions import ROOT, interpolated, of_dashboards, rules, selectors

PAGE = (ROOT / "docs/reference/metrics.md").read_text()
SECTIONS = {name: section for name, section in re.findall(r"\n### `([a-z0-9_]+)`\n(.*?)(?=\n##|\Z)", PAGE, re.DOTALL)}
DASHBOARDS = dict(of_dashboards())
ALERTS = rules("alert")

# These alerts would take minutes, or the machine's last open file. promtool has cases for them; here, the series that they
# look at must exist.
NOT_DRIVEN = {
    "PodIdentityWebhookAbsent",
    "PodIdentityWebhookNotReady",
    "PodIdentityWebhookWatchStale",
    "PodIdentityWebhookConnectionsNearLimit",
}


@pytest.mark.parametrize("expression", DASHBOARDS.values(), ids=DASHBOARDS)
def test_every_panel_has_data(run, expression):
    assert run.prometheus.over_the_run(interpolated(expression, run.variables)), expression


@pytest.mark.parametrize("rule", ALERTS.values(), ids=ALERTS)
def test_an_alert_fires_and_the_series_that_it_looks_at_exist(run, rule):
    true_at_times = bool(run.prometheus.over_the_run(rule["expr"]))
    assert true_at_times == (rule["alert"] not in NOT_DRIVEN), rule["expr"]
    firing = run.prometheus.over_the_run(f'ALERTS{{alertname="{rule["alert"]}", alertstate="firing"}}')
    assert firing or not true_at_times
    for metric, matchers, _, _ in selectors(rule["expr"]):
        assert run.prometheus.over_the_run(metric + matchers), metric + matchers


def test_prometheus_evaluates_every_rule(run):
    loaded = [rule for group in run.prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert len(loaded) == len(ALERTS) + len(rules("record"))
    assert {rule["health"] for rule in loaded} == {"ok"}, [rule.get("lastError") for rule in loaded]
    for name in rules("record"):
        assert run.prometheus.over_the_run(name), name


def test_every_outcome_was_driven(run):
    documented = set(re.findall(r"^\| `([a-z]+)` \| `([a-z_]+)` \| [^|]", PAGE, re.MULTILINE))
    counted = run.prometheus.over_the_run("sum by (outcome, reason) (pod_identity_webhook_admissions_total) > 0")
    assert {(labels["outcome"], labels["reason"]) for labels, _ in counted} == documented and len(documented) == 14


@pytest.mark.parametrize("metric, label, values", [
    ("lookup_wait_duration_seconds_count", "result", {"arrived", "timed_out", "abandoned"}),
    ("admission_warnings_total", "kind", {"role_arn", "pod_annotation", "mount_path"}),
    ("accounts", "state", {"annotated", "mapped", "container_credentials", "malformed", "unannotated"}),
    ("watch_events_total", "type", {"applied", "deleted"}),
    ("watch_errors_total", "reason", {"list", "watch_start", "watch_event", "watch_stream", "manifests"}),
    ("retries_total", "operation", {"account_watch"}),
    ("role_mapping_entries", "state", {"used", "malformed"}),
    ("role_mapping_errors_total", "reason", {"watch", "document"}),
    ("container_credentials_loads_total", "result", {"ok", "failed"}),
    ("tls_reloads_total", "result", {"ok", "failed"}),
    ("tls_rotations_total", "kind", {"authority", "leaf", "drop"}),
    ("tls_self_managed_errors_total", "operation", {"secret_update", "publish"}),
    ("tls_handshakes_total", "result", {"ok", "failed", "timed_out"}),
    ("http_responses_total", "code", {"200", "400", "404", "405", "408", "413", "415", "503"}),
    ("http_requests_total", "protocol", {"http1"}),
    ("connections_closed_total", "reason", {"finished", "broken", "slow_header", "drained"}),
    ("recordings_total", "result", {"written", "failed"}),
    ("namespace_admissions_total", "pod_namespace", {"payments", "orders", "search", "other"}),
    ("namespace_admission_warnings_total", "pod_namespace", {"payments"}),
])
def test_events_are_counted(run, metric, label, values):
    counted = run.prometheus.over_the_run(f"sum by ({label}) (pod_identity_webhook_{metric}) > 0")
    assert values <= {labels[label] for labels, _ in counted}


@pytest.mark.parametrize("gauge, values", [
    ("ready", {0, 1}), ("draining", {0, 1}), ("watch_synced", {0, 1}), ("watch_failing", {0, 1}),
    ("tls_last_reload_successful", {0, 1}), ("role_mapping_usable", {0, 1}),
    ("container_credentials_last_load_successful", {0, 1}), ("recording_active", {0, 1}),
])
def test_states_came_and_went(run, gauge, values):
    assert {value for _, points in run.prometheus.over_the_run(f"pod_identity_webhook_{gauge}") for _, value in points} == values


def test_the_page_and_the_scrape_agree(run):
    scraped = set(re.findall(r"^# TYPE ([a-z0-9_]+) ", run.old.metrics(), re.MULTILINE))
    assert scraped == set(SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_query_of_each_metric_has_data(run, name):
    query = re.search(r"```promql\n(.+)\n```", SECTIONS[name])[1].replace("$job", "eks-pod-identity-webhook")
    assert run.prometheus.over_the_run(query), query


def test_the_scrape_is_clean(run):
    checked = subprocess.run(["promtool", "check", "metrics"], input=run.old.metrics(), text=True, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_scrape_is_text_and_compressed_on_request(run):
    openmetrics = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    status, headers, body = run.old.get("/metrics", Accept=openmetrics, Accept_Encoding="gzip")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert (headers["content-encoding"], headers["vary"]) == ("gzip", "accept-encoding")
    plain = gzip.decompress(body)
    assert len(body) < len(plain) / 4
    _, headers, body = run.old.get("/metrics", Accept_Encoding="identity")
    assert "content-encoding" not in headers and body.startswith(b"# HELP ")
    assert re.findall(rb"^# TYPE .*$", body, re.MULTILINE) == re.findall(rb"^# TYPE .*$", plain, re.MULTILINE)


def test_debug_pages_show_settings_and_no_secret(run):
    status, _, body = run.old.get("/debug/config")
    config = json.loads(body)
    assert status == 200 and config["flags"]["--metrics-namespaces"] == {"value": "3", "from": "flag"}
    assert config["flags"]["--idle-timeout"] == {"value": "180s", "from": "default"}
    key = (run.certificates / "tls.key").read_text().splitlines()[1]
    assert key not in body.decode()
    _, _, account = run.old.get("/debug/accounts?namespace=payments&name=api")
    assert json.loads(account)["reason"] == "role"
    assert run.new.get("/debug/config")[0] == 404
