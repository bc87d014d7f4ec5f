#!/usr/bin/env python3
"""Writes the dashboards: `dashboards/generate.py`, or `--check` to fail where a file is not what would be written.

What they show stands here: a panel is a title, a sentence and its queries. How that becomes Grafana's JSON is in
`grafana.py`. `{m}` in a query stands for the matchers of a replica, `{a}` for those of kube-apiserver's series about us.
"""

import json
import pathlib
import sys

sys.dont_write_bytecode = True

from grafana import (  # noqa: E402
    ON_VERSION, P, REPLICA, TAG, MATCHERS, annotation, dashboard, heatmap, quantile, query_variable, row, series, stat, table,
)

HERE = pathlib.Path(__file__).parent


def main():
    stale = []
    for dashboard in (overview(), upgrade(), tenants()):
        path = HERE / f"{dashboard['uid'].removeprefix(TAG + '-')}.json"
        text = json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"{', '.join(stale)}: not what dashboards/generate.py writes; run it")


def overview():
    total = f"sum(rate({P}_admissions_total{{m}}[$__rate_interval]))"
    return dashboard("overview", "Pod identity webhook / Overview", "Do pods get their AWS identity, how fast, and what is wrong?", [
        row("Do pods get their identity?",
            stat("Ready replicas", "Replicas that take requests, of those that are scraped.", "short", [
                (f"sum({P}_ready{{m}})", "ready"), (f"count({P}_build_info{{m}})", "scraped")]),
            stat("Answered", "Share of the admissions that were answered, with or without a role. The rest got 503: most often, the account was unknown.", "percentunit", [
                (f'1 - sum(rate({P}_admissions_total{{m,outcome="unavailable"}}[$__rate_interval])) / {total}', "answered")],
                steps=[("red", None), ("orange", 0.99), ("green", 0.999)]),
            stat("Failing open", "Pods a second that the API server admitted without an answer from us: they run without their role.", "reqps", [
                ("sum(rate(apiserver_admission_webhook_fail_open_count{a}[$__rate_interval]))", "failing open")],
                steps=[("green", None), ("red", 0.000001)]),
            stat("Slowest 1%", "The 99th percentile of answering an admission, waits for accounts included.", "s", [
                (quantile(0.99, f"{P}_admission_duration_seconds"), "p99")],
                steps=[("green", None), ("orange", 0.1), ("red", 1)]),
            stat("Age of what is known", "Since the API server last took a list or watch call of the replica that is furthest behind; about a minute at most when all is well. Empty with manifests.", "s", [
                (f"max(time() - ({P}_watch_last_contact_timestamp_seconds{{m}} > 0))", "age")],
                steps=[("green", None), ("orange", 120), ("red", 300)]),
            stat("Certificate expires in", "Until the first certificate in use expires.", "s", [
                (f"min({P}_tls_certificate_expiry_timestamp_seconds{{m}} > 0) - time()", "expires in")],
                steps=[("red", None), ("orange", 86400), ("green", 604800)]),
            stat("Accounts with a role", "ServiceAccounts that name a role, and those whose role is no ARN.", "short", [
                (f'max({P}_accounts{{m,state="annotated"}})', "annotated"),
                (f'max({P}_accounts{{m,state="malformed"}})', "malformed")]),
            stat("Versions", "Replicas by version.", "short", [(f"count by (version) ({P}_build_info{{m}})", "{{version}}")]),
            ),
        row("Traffic",
            series("Admissions by outcome", "What pods got.", "reqps", [
                (f"sum by (outcome) (rate({P}_admissions_total{{m}}[$__rate_interval]))", "{{outcome}}")], stack=True),
            series("Admissions by reason", "Why they got it.", "reqps", [
                (f"sum by (reason) (rate({P}_admissions_total{{m}}[$__rate_interval])) > 0", "{{reason}}")]),
            series("Admissions by operation", "What was asked: creations of pods, and updates, which add ephemeral containers.", "reqps", [
                (f"sum by (operation) (rate({P}_admissions_total{{m}}[$__rate_interval])) > 0", "{{operation}}")], stack=True),
            series("Responses by status code", "503 is an unknown account, 400 no AdmissionReview, 408 and 413 a body too slow or too large.", "reqps", [
                (f"sum by (code) (rate({P}_http_responses_total{{m}}[$__rate_interval])) > 0", "{{code}}")]),
            series("Warnings", "Answers that warn the user: a role that is no ARN, malformed annotations, something else mounted where the token would be.", "reqps", [
                (f"sum by (kind) (rate({P}_admission_warnings_total{{m}}[$__rate_interval]))", "{{kind}}")]),
            series("In flight", "Admissions being answered; more than a few means that they wait for accounts.", "short", [
                (f"sum by (instance) ({P}_admissions_in_flight{{m}})", "{{instance}}")]),
            ),
        row("Latency",
            heatmap("Latency", "How long answers take, from the body read to the answer rendered.", "s",
                f"sum by (le) (rate({P}_admission_duration_seconds_bucket{{m}}[$__rate_interval]))"),
            series("Percentiles", "The same as lines.", "s", [
                (quantile(q, f"{P}_admission_duration_seconds"), f"p{q * 100:g}") for q in (0.5, 0.9, 0.99, 0.999)], log=True),
            series("As the API server sees it", "From kube-apiserver's own histogram, which begins at 5 ms: with network, TLS and retries.", "s", [
                (quantile(q, "apiserver_admission_webhook_admission_duration_seconds", "{a}"), f"p{q * 100:g}") for q in (0.5, 0.99)]),
            series("Calls as the API server counts them", "By the status code that it took them to end with.", "reqps", [
                ("sum by (code) (rate(apiserver_admission_webhook_request_total{a}[$__rate_interval]))", "{{code}}")]),
            series("Failing open and rejected", "Pods that were admitted without an answer (failurePolicy Ignore), and pods that were not (Fail).", "reqps", [
                ("sum by (name) (rate(apiserver_admission_webhook_fail_open_count{a}[$__rate_interval]))", "failing open, {{name}}"),
                ("sum by (error_type) (rate(apiserver_admission_webhook_rejection_count{a}[$__rate_interval]))", "rejected, {{error_type}}")]),
            ),
        row("Waits for accounts",
            series("Waits by how they ended", "Pods that came before the watch had shown their ServiceAccount. Those that timed out got 503.", "reqps", [
                (f"sum by (result) (rate({P}_lookup_wait_duration_seconds_count{{m}}[$__rate_interval]))", "{{result}}")]),
            series("How long", "The median and the slowest 1% of the waits.", "s", [
                (quantile(q, f"{P}_lookup_wait_duration_seconds"), f"p{q * 100:g}") for q in (0.5, 0.99)]),
            ),
        row("Accounts and the watch",
            series("Accounts by state", "Known ServiceAccounts.", "short", [
                (f"max by (state) ({P}_accounts{{m}})", "{{state}}")], stack=True),
            series("Age of what is known", "Since the API server last took a list or watch call. Saw teeth of about a minute are a watch at work.", "s", [
                (f"time() - ({P}_watch_last_contact_timestamp_seconds{{m}} > 0)", "{{instance}}")]),
            series("Since the last list and change", "A quiet cluster has no change for hours.", "s", [
                (f"time() - max({P}_watch_last_sync_timestamp_seconds{{m}} > 0)", "list"),
                (f"time() - max({P}_watch_last_event_timestamp_seconds{{m}} > 0)", "change")]),
            series("Changes", "Changes of ServiceAccounts that the watch brought.", "ops", [
                (f"sum by (type) (rate({P}_watch_events_total{{m}}[$__rate_interval]))", "{{type}}")]),
            series("Lists", "Lists of everything begun: one at the start, then only when the watch lost its place; with manifests, each time they changed.", "short", [
                (f"sum by (instance) (increase({P}_watch_lists_total{{m}}[$__rate_interval]))", "{{instance}}")]),
            series("Failures", "What failed of the watch or of reading the manifests.", "ops", [
                (f"sum by (reason) (rate({P}_watch_errors_total{{m}}[$__rate_interval]))", "{{reason}}")]),
            series("State", "Replicas that were never synced, and those whose watch fails now.", "short", [
                (f"count({P}_watch_synced{{m}} == 0) or vector(0)", "never synced"),
                (f"sum({P}_watch_failing{{m}})", "failing")]),
            ),
        row("TLS and connections",
            series("Certificates", "Until they expire; of a self-managed one, its authority too.", "s", [
                (f"({P}_tls_certificate_expiry_timestamp_seconds{{m}} > 0) - time()", "{{instance}}"),
                (f"({P}_tls_authority_expiry_timestamp_seconds{{m}} > 0) - time()", "{{instance}}, authority")]),
            series("Reloads", "Changed certificate files: taken into use, or refused while the old ones are served.", "short", [
                (f"sum by (result) (increase({P}_tls_reloads_total{{m}}[$__rate_interval]))", "{{result}}"),
                (f"count({P}_tls_last_reload_successful{{m}} == 0) or vector(0)", "replicas with files that can't be used")]),
            series("Self-managed", "What was done to keep the certificate: changes of its Secret, patches of the caBundle, and failures.", "short", [
                (f"sum by (kind) (increase({P}_tls_rotations_total{{m}}[$__rate_interval]))", "{{kind}}"),
                (f"sum(increase({P}_tls_ca_bundle_patches_total{{m}}[$__rate_interval]))", "caBundle patched"),
                (f"sum(increase({P}_tls_self_managed_errors_total{{m}}[$__rate_interval]))", "failures")]),
            series("Handshakes", "Failed ones are most often a caBundle that does not fit the certificate.", "ops", [
                (f"sum by (result) (rate({P}_tls_handshakes_total{{m}}[$__rate_interval]))", "{{result}}")]),
            series("Open connections", "Of the most that may be open. Each API server keeps up to 25.", "percentunit", [
                (f"{P}_connections_open{{m}} / {P}_connections_limit{{m}}", "{{instance}}")]),
            series("Connections that ended", "By why.", "ops", [
                (f"sum by (reason) (rate({P}_connections_closed_total{{m}}[$__rate_interval]))", "{{reason}}")]),
            series("Accepted", "Connections accepted, and failures to: too many open files.", "ops", [
                (f"sum(rate({P}_connections_total{{m}}[$__rate_interval]))", "accepted"),
                (f"sum(rate({P}_accept_errors_total{{m}}[$__rate_interval]))", "failures")]),
            ),
        row("Resources",
            series("CPU", "Cores in use, by replica.", "short", [("rate(process_cpu_seconds_total{m}[$__rate_interval])", "{{instance}}")]),
            series("CPU per admission", "All that the process does, over the admissions it answers; it counts in hundredths of a second, so it needs traffic to be exact.", "s", [
                (f"sum by (instance) (rate(process_cpu_seconds_total{{m}}[$__rate_interval])) / (sum by (instance) (rate({P}_admissions_total{{m}}[$__rate_interval])) > 0)", "{{instance}}")]),
            series("Memory", "Resident, and the most that it ever was.", "bytes", [
                ("process_resident_memory_bytes{m}", "{{instance}}"), ("process_resident_memory_peak_bytes{m}", "{{instance}}, peak")]),
            series("Memory per account", "Of everything that is known, with what the process needs anyway.", "bytes", [
                (f"sum by (instance) (process_resident_memory_bytes{{m}}) / (sum by (instance) ({P}_accounts{{m}}) > 0)", "{{instance}}")]),
            series("Open files", "Of those that may be open.", "percentunit", [("process_open_fds{m} / process_max_fds{m}", "{{instance}}")]),
            series("Uptime", "Since the process started, and those on the way down.", "s", [("time() - process_start_time_seconds{m}", "{{instance}}")]),
            series("Draining", "Replicas that have been told to end.", "short", [(f"sum({P}_draining{{m}})", "draining")]),
            series("Log lines dropped", "Since nobody reads the log.", "ops", [(f"sum(rate({P}_log_lines_dropped_total{{m}}[$__rate_interval]))", "dropped")]),
            series("Recording", "Requests that --record wrote, could not keep up with, or failed to write.", "ops", [
                (f"sum by (result) (rate({P}_recordings_total{{m}}[$__rate_interval]))", "{{result}}")]),
            ),
    ])


def upgrade():
    def by_version(expression):
        """Sums what an expression says of each replica by the version that it runs."""
        return f"sum by (version) ({expression} {ON_VERSION})"

    def per(numerator, denominator):
        return f"{by_version(numerator)} / ({by_version(denominator)} > 0)"

    def rate(metric, more=""):
        return f"rate({metric}{{m{more}}}[$__rate_interval])"

    def version_quantile(q):
        rates = f"sum by ({REPLICA}, le) ({rate(f'{P}_admission_duration_seconds_bucket')})"
        return f"histogram_quantile({q}, sum by (version, le) ({rates} {ON_VERSION}))"

    admissions = rate(f"{P}_admissions_total")
    build_info = f"count by (version) ({P}_build_info{{m}})"
    before = f"count by (version) ({P}_build_info{{m}} offset 1m)"
    legend = "{{version}}"
    return dashboard("upgrade", "Pod identity webhook / Upgrade", "Two versions side by side: is the new one as fast, as small and as right as the old?", [
        row("What runs",
            series("Replicas", "By version. A rollout crosses over and ends with one.", "short", [(build_info, legend)], stack=True),
            series("Ready replicas", "By version.", "short", [(by_version(f"{P}_ready{{m}}"), legend)], stack=True),
            series("Admissions", "By version.", "reqps", [(by_version(admissions), legend)], stack=True),
            ),
        row("Is it as fast?",
            series("Median", "Half of the answers are faster.", "s", [(version_quantile(0.5), legend)]),
            series("Slowest 1%", "Waits for accounts included.", "s", [(version_quantile(0.99), legend)]),
            series("Mean", "Waits for accounts included.", "s", [
                (per(rate(f"{P}_admission_duration_seconds_sum"), rate(f"{P}_admission_duration_seconds_count")), legend)]),
            ),
        row("Is it as small?",
            series("CPU per admission", "All that the process does, over the admissions it answers.", "s", [
                (per(rate("process_cpu_seconds_total"), admissions), legend)]),
            series("CPU", "Cores of all replicas of the version.", "short", [(by_version(rate("process_cpu_seconds_total")), legend)]),
            series("Memory per replica", "Resident.", "bytes", [
                (per("process_resident_memory_bytes{m}", f"{P}_build_info{{m}}"), legend)]),
            series("Memory per account", "Resident, over what is known.", "bytes", [
                (per("process_resident_memory_bytes{m}", f"{P}_accounts{{m}}"), legend)]),
            ),
        row("Is it as right?",
            series("Outcomes", "Share of the admissions with each outcome. Both versions see the same pods, so the shares are to agree.", "percentunit", [
                (f"sum by (version, outcome) ({admissions} {ON_VERSION}) / on (version) group_left () ({by_version(admissions)} > 0)", "{{version}} {{outcome}}")]),
            series("Unanswered", "Share of the admissions that got 503.", "percentunit", [
                (per(rate(f"{P}_admissions_total", ',outcome="unavailable"'), admissions), legend)]),
            series("Refused requests", "Responses with a 4xx status code.", "reqps", [
                (by_version(rate(f"{P}_http_responses_total", ',code=~"4.."')), legend)]),
            series("Warnings", "Answers that warn the user.", "reqps", [(by_version(rate(f"{P}_admission_warnings_total")), legend)]),
            series("Failures of the watch", "Or of reading the manifests.", "ops", [(by_version(rate(f"{P}_watch_errors_total")), legend)]),
            series("Handshakes that fail", "Or take too long.", "ops", [
                (by_version(rate(f"{P}_tls_handshakes_total", ',result!="ok"')), legend)]),
            ),
    ], annotations=[
        annotation("A version comes or goes", "purple", f"({build_info} unless {before}) or ({before} unless {build_info})"),
        annotation("Replicas of a version change", "blue", f"{build_info} != {before}"),
    ])


def tenants():
    n = ',pod_namespace=~"$pod_namespace"'
    total = f"{P}_namespace_admissions_total"
    warnings = f"{P}_namespace_admission_warnings_total"

    def top(expression):
        return f"topk(10, sum by (pod_namespace) ({expression}))"

    legend = "{{pod_namespace}}"
    return dashboard("tenants", "Pod identity webhook / Tenants", "Who asks, and who has a problem? Needs --metrics-namespaces; namespaces beyond its count are shown as other.", [
        row("Who asks?",
            series("Admissions", "The ten namespaces with the most.", "reqps", [(top(f"rate({total}{{m{n}}}[$__rate_interval])"), legend)], stack=True),
            series("Injected", "The ten namespaces whose pods are given roles most often.", "reqps", [
                (top(f'rate({total}{{m{n},outcome="injected"}}[$__rate_interval])'), legend)], stack=True),
            stat("Namespaces", "That have series of their own, at the replica that has seen most.", "short", [
                (f'max(count by (instance) (sum by (instance, pod_namespace) (rate({total}{{m,pod_namespace!="other"}}[$__rate_interval]))))', "namespaces")]),
            stat("In other", "Share of the admissions from namespaces beyond the count. If it is large, raise --metrics-namespaces.", "percentunit", [
                (f'sum(rate({total}{{m,pod_namespace="other"}}[$__rate_interval])) / sum(rate({total}{{m}}[$__rate_interval]))', "other")]),
            ),
        row("Who has a problem?",
            series("Unanswered", "The ten namespaces whose pods got 503 most often, or whose callers went away. Most often, their ServiceAccounts are new, or missing from the manifests.", "reqps", [
                (top(f'rate({total}{{m{n},outcome="unavailable"}}[$__rate_interval])'), legend)]),
            series("Warnings", "The ten namespaces that are warned most often: roles that are no ARNs, malformed annotations, mounts in the way.", "reqps", [
                (top(f"rate({warnings}{{m{n}}}[$__rate_interval])"), legend)]),
            table("In the time shown", "Admissions, those that got 503, and those with warnings.", [
                (f"sum by (pod_namespace) (increase({total}{{m{n}}}[$__range]))", "Admissions"),
                (f'sum by (pod_namespace) (increase({total}{{m{n},outcome="injected"}}[$__range]))', "Injected"),
                (f'sum by (pod_namespace) (increase({total}{{m{n},outcome="unavailable"}}[$__range]))', "Unknown account"),
                (f"sum by (pod_namespace) (increase({warnings}{{m{n}}}[$__range]))", "Warnings")]),
            ),
    ], variables=[query_variable("pod_namespace", "Pod namespace", f'label_values({total}{{{MATCHERS}}}, pod_namespace)')])


if __name__ == "__main__":
    main()
