"""The overview: is the webhook healthy, and if not, what is wrong?"""

from grafana import annotation, build, row

P = "pod_identity_webhook"
OUTCOMES = ("injected", "unchanged", "skipped", "unavailable", "invalid")
CODES = ("200", "400", "404", "405", "408", "413", "415", "503", "other")
PERCENTILES = ("p50", "p90", "p99", "p99.9")
EACH = "{{cluster}} {{instance}}"
# 0 for each cluster whose API server is scraped and has called the webhook: its counters of failures do not exist before the first.
ZERO = "0 * group by (cluster) (apiserver_admission_webhook_admission_duration_seconds_count{a})"
NOT_SCRAPED = "API server not scraped"


def rate(metric, by=""):
    return f"sum{by} (rate({metric}[$__rate_interval]))"


def quantile(q, metric, matchers="{m}"):
    """A quantile; nothing, rather than NaN, where there was nothing to measure."""
    return f"histogram_quantile({q}, {rate(f'{metric}_bucket{matchers}', ' by (le)')}) >= 0"


def counted(counter):
    """What a counter of an API server counted in the time shown. A counter that appeared meanwhile began at 0, on an API
    server that was scraped before."""
    new = f"({counter}{{a}} unless {counter}{{a}} offset $__range) and on (job, instance) up offset $__range == 1"
    return f"sum(({new}) or increase({counter}{{a}}[$__range])) or sum({ZERO})"


def overview(p):
    return build(p, "overview", "Pod identity webhook / Overview", "Do pods get their AWS role? If not, what is wrong?", [
        health(p), admissions(p), latency(p), api_server(p), waits(p), watch(p), sources(p), tls(p), connections(p), resources(p),
    ], annotations=[annotation("Version changed", "purple", p.expand(
        f"count by (version) ({P}_build_info{{m}}) unless count by (version) ({P}_build_info{{m}} offset 1m)"))])


def health(p):
    replicas = f"sum(kube_deployment_spec_replicas{{k,deployment=~\"{p.config['selectors']['workload']}\"}}"
    replicas += f" or kube_daemonset_status_desired_number_scheduled{{k,daemonset=~\"{p.config['selectors']['workload']}\"}})"
    firing = 'ALERTS{alerts,alertstate="firing"}'
    total, unanswered = f"{P}_admissions_total{{m}}", rate(f'{P}_admissions_total{{m,outcome="unavailable"}}')
    return row("Health", [
        p.stat("Firing alerts", "Firing alerts about the webhook. They are listed below.", "short", [
            (f"count({firing}) or 0 * group(job:{P}_admissions:rate5m)", "firing")],
            "bad", no_value="Rules not loaded", decimals=0),
        p.stat("Ready replicas", "Replicas that accept requests, beside the desired number. Without kube-state-metrics, the latter is the number of scraped replicas. "
               "If no replica is ready, pods start without their role or are rejected: read `/readyz` and the log.", "short", [
            (f"sum({P}_ready{{m}})", "ready"), (f"{replicas} or count({P}_build_info{{m}})", "desired")],
            "ready_replicas", others={"desired": None}, runbook="PodIdentityWebhookNotReady"),
        p.stat("Admissions answered", "Share of the admissions that were answered, with or without a role. The others got 503, most often because the ServiceAccount was unknown. "
               "If it is low, look at the waits and the watch below.", "percentunit", [
            (f"1 - {unanswered} / ({rate(total)} > 0)", "answered")],
            "answered", no_value="No admissions", runbook="PodIdentityWebhookErrorBudgetBurnsFast"),
        p.stat("Pods admitted without a role", "Pods, in the time shown, that the API server admitted without an answer from the webhook (`failurePolicy: Ignore`). "
               "They run without their role: find them with `eks-pod-identity-webhook audit` and restart them.", "short", [
            (counted("apiserver_admission_webhook_fail_open_count"), "pods")],
            "bad", no_value=NOT_SCRAPED, decimals=0, runbook="PodIdentityWebhookFailingOpen", audit=True),
        p.stat("Pods rejected", "Pods, in the time shown, that the API server rejected because the webhook did not answer (`failurePolicy: Fail`). "
               "Their controllers create them again: fix the cause.", "short", [
            (counted("apiserver_admission_webhook_rejection_count"), "pods")],
            "bad", no_value=NOT_SCRAPED, decimals=0, runbook="PodIdentityWebhookRejecting"),
        p.stat("Admission latency, p99", "99th percentile of the time to answer an admission, including waits for ServiceAccounts. "
               "If it is high, pods arrive before their ServiceAccounts, or the process is short of CPU.", "s", [
            (quantile(0.99, f"{P}_admission_duration_seconds"), "p99")],
            "latency_p99", no_value="No admissions", runbook="PodIdentityWebhookSlow"),
    ], [
        p.stat("Watch staleness", "Time since the API server last accepted a list or watch call, of the replica that is furthest behind. About a minute at most is normal. "
               "If it grows, check the network to the API server and the log.", "s", [
            (f"max(time() - ({P}_watch_last_contact_timestamp_seconds{{m}} > 0))", "staleness")],
            "watch_staleness", no_value="No watch (manifests)", runbook="PodIdentityWebhookWatchStale"),
        p.stat("Certificate expiry", "Time until the first certificate in use expires. If it is red, find out why it was not renewed.", "s", [
            (f"min({P}_tls_certificate_expiry_timestamp_seconds{{m}} > 0) - time()", "expires in")],
            "certificate_expiry", no_value="No certificate", runbook="PodIdentityWebhookCertificateExpiresSoon"),
        p.stat("ServiceAccounts with a role", "ServiceAccounts with a role, and those whose role is not an ARN. AWS refuses the pods of the latter: inform their owners.", "short", [
            (f'sum(max by (cluster, namespace, job) ({P}_accounts{{m,state="annotated"}}))', "valid"),
            (f'sum(max by (cluster, namespace, job) ({P}_accounts{{m,state="malformed"}}))', "malformed")],
            others={"malformed": "odd"}, runbook="PodIdentityWebhookMalformedRoles"),
        p.stat("Admissions", "Admission requests per second. 0 for long means that the API server does not call the webhook: run `eks-pod-identity-webhook doctor`.", "reqps", [
            (rate(total), "admissions")]),
        p.stat("Memory, largest replica", "Resident memory of the largest replica, and the most that a replica has used. Set the memory limit above the latter.", "bytes", [
            ("max(process_resident_memory_bytes{m})", "now"), ("max(process_resident_memory_peak_bytes{m})", "peak")]),
        p.stat("Versions", "Replicas by version. More than one version outside a rollout means that the rollout is stuck: open the upgrade dashboard.", "short", [
            (f"count by (version) ({P}_build_info{{m}})", "{{version}}")], runbook="PodIdentityWebhookMixedVersions"),
    ], [
        p.alerts("Alerts", "Firing alerts. The runbook has a section for each: what users notice, where to look, what to do.",
                 f"min by (cluster, namespace, alertname, severity) ({firing})", no_value="No alert is firing"),
    ])


def admissions(p):
    total = f"{P}_admissions_total{{m}}"
    return row("Admissions", [
        p.series("Admissions by outcome", "What pods got. `unavailable` (503) pods start without their role or are rejected: look at the reasons.", "reqps", [
            (rate(total, " by (outcome)"), "{{outcome}}")], stack=True, colors=OUTCOMES, runbook="PodIdentityWebhookUnknownAccounts"),
        p.series("Admissions by reason", "Why pods got it. The page Metrics of the documentation explains each reason.", "reqps", [
            (f"{rate(total, ' by (reason)')} > 0", "{{reason}}")], no_value="No admissions"),
        p.series("Admissions by operation", "CREATE is a new pod; UPDATE adds an ephemeral container. Others mean that the rules of the webhook configuration are too wide.", "reqps", [
            (f"{rate(total, ' by (operation)')} > 0", "{{operation}}")], stack=True, no_value="No admissions"),
    ], [
        p.series("Responses by status code", "503: unknown ServiceAccount. 400: not an AdmissionReview. 408, 413: the body was too slow or too large. "
                 "If there are 4xx, something other than a kube-apiserver calls the port, or a limit is too low.", "reqps", [
            (f"{rate(P + '_http_responses_total{m}', ' by (code)')} > 0", "{{code}}")], colors=CODES, no_value="No requests", runbook="PodIdentityWebhookRequestsRefused"),
        p.series("Warnings by kind", "Answers with a warning for the user: a role that is not an ARN, an annotation with an invalid value, another volume at the token's path. "
                 "Controllers hide warnings: inform the owners.", "reqps", [
            (rate(f"{P}_admission_warnings_total{{m}}", " by (kind)"), "{{kind}}")]),
        p.series("Admissions in flight", "Admissions that are being answered. More than a few wait for their ServiceAccounts.", "short", [
            (f"{P}_admissions_in_flight{{m}}", EACH)]),
    ])


def latency(p):
    return row("Latency", [
        p.heatmap("Admission latency, distribution", "Time to answer, from the whole body to the rendered answer. A second band above 100 ms is waits for ServiceAccounts.", "s",
                  rate(f"{P}_admission_duration_seconds_bucket{{m}}", " by (le)")),
        p.series("Admission latency, percentiles", "The same, as percentiles. If only p99 rises, look at the waits; if p50 rises, at CPU.", "s", [
            (quantile(q, f"{P}_admission_duration_seconds"), f"p{q * 100:g}") for q in (0.5, 0.9, 0.99, 0.999)],
            log=True, thresholds="latency_p99", colors=PERCENTILES, no_value="No admissions", runbook="PodIdentityWebhookSlow"),
    ])


def api_server(p):
    return row("API server", [
        p.series("Webhook latency as the API server measures it", "From kube-apiserver's histogram, whose first bucket ends at 5 ms: faster calls are shown as up to 5 ms. "
                 "It includes network, TLS and retries: if it is far above the latency above, look at the network and at handshakes.", "s", [
            (quantile(q, "apiserver_admission_webhook_admission_duration_seconds", "{a}"), f"p{q * 100:g}") for q in (0.99, 0.999)],
            colors=("p99", "p99.9"), no_value=NOT_SCRAPED),
        p.series("Calls by status code", "Calls of the webhook as the API server counts them. Anything but 200 was not answered.", "reqps", [
            (rate("apiserver_admission_webhook_request_total{a}", " by (code)"), "{{code}}")], colors=CODES, no_value=NOT_SCRAPED),
        p.series("Admitted without an answer, and rejected", "Pods per second that run without their role (`Ignore`), and that were rejected (`Fail`). "
                 "The API server's log says why: `failed calling webhook`.", "reqps", [
            (f"{rate('apiserver_admission_webhook_fail_open_count{a}', ' by (cluster)')} or {ZERO}", "admitted {{cluster}}"),
            (f"{rate('apiserver_admission_webhook_rejection_count{a}', ' by (cluster, error_type)')} or on (cluster) {ZERO}", "rejected {{cluster}} {{error_type}}")],
            no_value=NOT_SCRAPED, runbook="PodIdentityWebhookFailingOpen", audit=True),
    ])


def waits(p):
    wait = f"{P}_lookup_wait_duration_seconds"
    return row("Waits for ServiceAccounts", [
        p.series("Waits by result", "Pods that arrived before their ServiceAccount. `timed_out` and `refused` got 503. "
                 "If waits last, the watch is behind: look at its staleness and at the API server.", "reqps", [
            (rate(f"{wait}_count{{m}}", " by (result)"), "{{result}}")], colors=("arrived", "timed_out", "abandoned", "refused"),
            runbook="PodIdentityWebhookUnknownAccounts"),
        p.series("Wait duration", "How long pods waited. If it comes near `--lookup-grace`, pods time out: raise it, or create accounts earlier.", "s", [
            (quantile(q, wait), f"p{q * 100:g}") for q in (0.5, 0.99)], colors=("p50", "p99"), no_value="No waits"),
    ], collapsed=True)


def watch(p):
    per_cluster = f"max by (cluster, namespace, job, state) ({P}_accounts{{m}})"
    return row("ServiceAccounts and watch", [
        p.series("ServiceAccounts by state", "Known ServiceAccounts, each counted once per cluster. If `annotated` drops, somebody removed annotations or accounts.", "short", [
            (f"sum by (state) ({per_cluster})", "{{state}}")], stack=True,
            colors=("annotated", "mapped", "container_credentials", "malformed", "unannotated")),
        p.series("Watch staleness", "Time since the API server last accepted a list or watch call. A sawtooth of about a minute is normal.", "s", [
            (f"time() - ({P}_watch_last_contact_timestamp_seconds{{m}} > 0)", EACH)], thresholds="watch_staleness", no_value="No watch (manifests)",
            runbook="PodIdentityWebhookWatchStale"),
        p.series("Replicas with a failing watch", "Replicas that never completed a list, and replicas whose watch fails now. Known accounts are served; new and changed ones may not be. "
                 "Look at the errors and the log.", "short", [
            (f"count({P}_watch_synced{{m}} == 0) or vector(0)", "never synced"), (f"sum({P}_watch_failing{{m}})", "failing")],
            colors=("failing",), runbook="PodIdentityWebhookWatchFailing"),
        p.series("Watch errors by reason", "Failed list and watch calls, and manifests that cannot be read. `watch_stream` alone is a proxy that closes long requests: raise its timeout.", "ops", [
            (rate(f"{P}_watch_errors_total{{m}}", " by (reason)"), "{{reason}}")], runbook="PodIdentityWebhookWatchFailing"),
        p.series("Retries by operation", "Retries of calls to the API server; pauses between them grow. Steady retries: look at the errors by reason, and at the log of the first one.", "ops", [
            (rate(f"{P}_retries_total{{m}}", " by (operation)"), "{{operation}}")], runbook="PodIdentityWebhookWatchFailing"),
    ], [
        p.series("Changes by type", "Changes of ServiceAccounts. Many per second, without a rollout, are a controller that rewrites accounts: find it in the audit log.", "ops", [
            (rate(f"{P}_watch_events_total{{m}}", " by (type)"), "{{type}}")]),
        p.series("Lists", "Full lists of all ServiceAccounts: one at the start, then only after the watch lost its place. With manifests: each time they are read. "
                 "Many lists load the API server: look at the errors.", "short", [
            (f"increase({P}_watch_lists_total{{m}}[$__rate_interval])", EACH)]),
        p.series("Time since the last list and change", "A quiet cluster has no change for hours.", "s", [
            (f"time() - max by (cluster) ({P}_watch_last_sync_timestamp_seconds{{m}} > 0)", "list {{cluster}}"),
            (f"time() - max by (cluster) ({P}_watch_last_event_timestamp_seconds{{m}} > 0)", "change {{cluster}}")], no_value="Nothing yet"),
    ], collapsed=True)


def sources(p):
    entries, mapping, file = f"{P}_role_mapping_entries{{m}}", f"{P}_role_mapping", f"{P}_container_credentials"
    return row("Role mapping and container credentials", [
        p.series("Role mapping entries", "Entries of the ConfigMap that maps roles. `malformed` entries are ignored: the log names each.", "short", [
            (f"sum by (state) (max by (cluster, namespace, job, state) ({entries}))", "{{state}}")], colors=("used", "malformed"),
            runbook="PodIdentityWebhookRoleMappingBroken"),
        p.series("Role mapping errors", "Failures to read the ConfigMap (`watch`) or to use its content (`document`), and replicas that use an older content. The log says why.", "short", [
            (f"sum by (reason) (increase({mapping}_errors_total{{m}}[$__rate_interval]))", "{{reason}}"),
            (f"count({mapping}_usable{{m}} == 0) or vector(0)", "replicas with older content")], runbook="PodIdentityWebhookRoleMappingBroken"),
        p.series("Container credentials", "ServiceAccounts in the file of container credentials.", "short", [
            (f"{file}_identities{{m}}", EACH)]),
        p.series("Container credentials, loads", "Reads of the file by result, and replicas that use an older content because the new one is invalid. The log says why.", "short", [
            (f"sum by (result) (increase({file}_loads_total{{m}}[$__rate_interval]))", "{{result}}"),
            (f"count({file}_last_load_successful{{m}} == 0) or vector(0)", "replicas with older content")], colors=("ok", "failed")),
    ], collapsed=True)


def tls(p):
    return row("TLS", [
        p.series("Certificate expiry", "Time until certificates expire and, if self-managed, until their authority does.", "s", [
            (f"({P}_tls_certificate_expiry_timestamp_seconds{{m}} > 0) - time()", EACH),
            (f"({P}_tls_authority_expiry_timestamp_seconds{{m}} > 0) - time()", f"{EACH} authority")], thresholds="certificate_expiry", no_value="No certificate",
            runbook="PodIdentityWebhookCertificateExpiresSoon"),
        p.series("Certificate reloads", "Changed certificate files by result, and replicas that serve an old certificate because the new files are invalid. The log says why.", "short", [
            (f"sum by (result) (increase({P}_tls_reloads_total{{m}}[$__rate_interval]))", "{{result}}"),
            (f"count({P}_tls_last_reload_successful{{m}} == 0) or vector(0)", "replicas with an old certificate")], colors=("ok", "failed"),
            runbook="PodIdentityWebhookCertificateReloadFailing"),
        p.series("Self-managed certificate", "Rotations in the Secret, repairs of the `caBundle`, and errors. "
                 "Steady repairs mean that another program overwrites the `caBundle`; errors, that a right or an object is missing.", "short", [
            (f"sum by (kind) (increase({P}_tls_rotations_total{{m}}[$__rate_interval]))", "{{kind}}"),
            (f"sum(increase({P}_tls_ca_bundle_patches_total{{m}}[$__rate_interval]))", "caBundle patches"),
            (f"sum(increase({P}_tls_self_managed_errors_total{{m}}[$__rate_interval]))", "errors")], colors=("errors",),
            runbook="PodIdentityWebhookCertificateNotKept"),
        p.series("Handshakes by result", "`failed` is most often a `caBundle` that does not match the certificate. Port scanners fail as well.", "ops", [
            (rate(f"{P}_tls_handshakes_total{{m}}", " by (result)"), "{{result}}")], colors=("ok", "failed", "timed_out"),
            runbook="PodIdentityWebhookHandshakesFailing"),
    ], collapsed=True)


def connections(p):
    return row("Connections", [
        p.series("Open connections, share of the limit", "Each API server keeps up to 25. If it nears 100%, find out who connects, or raise `--max-connections`.", "percentunit", [
            (f"{P}_connections_open{{m}} / {P}_connections_limit{{m}}", EACH)], thresholds="connections",
            runbook="PodIdentityWebhookConnectionsNearLimit"),
        p.series("Requests by protocol", "kube-apiserver uses HTTP/2 only if the webhook's URL is on loopback. In a cluster with a Service, `http2` is another client.", "reqps", [
            (rate(f"{P}_http_requests_total{{m}}", " by (protocol)"), "{{protocol}}")]),
        p.series("Connections opened", "Accepted connections, and failures to accept one: too many open files.", "ops", [
            (rate(f"{P}_connections_total{{m}}"), "accepted"), (rate(f"{P}_accept_errors_total{{m}}"), "errors")], colors=("errors",)),
        p.series("Connections closed by reason", "`finished` and `drained` are normal. `broken` and `slow_header` are most often not an API server.", "ops", [
            (rate(f"{P}_connections_closed_total{{m}}", " by (reason)"), "{{reason}}")]),
    ], collapsed=True)


def resources(p):
    return row("Resources", [
        p.series("CPU", "Cores in use. If it stays at the CPU limit, remove the limit.", "short", [
            ("rate(process_cpu_seconds_total{m}[$__rate_interval])", EACH)]),
        p.series("CPU per admission", "CPU time of the whole process, divided by its admissions. Exact only under traffic.", "s", [
            (f"rate(process_cpu_seconds_total{{m}}[$__rate_interval]) / on (cluster, namespace, job, instance, pod) "
             f"(sum by (cluster, namespace, job, instance, pod) (rate({P}_admissions_total{{m}}[$__rate_interval])) > 0)", EACH)], no_value="No admissions"),
        p.series("Memory", "Resident memory, and its peak. Set the memory limit above the peak.", "bytes", [
            ("process_resident_memory_bytes{m}", EACH), ("process_resident_memory_peak_bytes{m}", f"{EACH} peak")]),
        p.series("Memory per ServiceAccount", "Resident memory divided by the known ServiceAccounts.", "bytes", [
            (f"process_resident_memory_bytes{{m}} / on (cluster, namespace, job, instance, pod) "
             f"(sum by (cluster, namespace, job, instance, pod) ({P}_accounts{{m}}) > 0)", EACH)], no_value="No ServiceAccounts"),
    ], [
        p.series("Open files, share of the limit", "If it nears 100%, raise the limit on open files.", "percentunit", [
            ("process_open_fds{m} / process_max_fds{m}", EACH)], thresholds="open_files"),
        p.series("Uptime", "Time since the start. If it drops without a rollout, the process restarts: `kubectl logs --previous`.", "s", [
            ("time() - process_start_time_seconds{m}", EACH)]),
        p.series("Draining replicas", "Replicas that are shutting down.", "short", [(f"sum({P}_draining{{m}})", "draining")]),
        p.series("Dropped log lines", "Log lines that were dropped because the container runtime does not read them: look at the node.", "ops", [
            (rate(f"{P}_log_lines_dropped_total{{m}}"), "dropped")]),
        p.series("Recording", "Requests that `--record` wrote, dropped because the disk is slow, or failed to write; and replicas that record.", "short", [
            (f"sum by (result) (rate({P}_recordings_total{{m}}[$__rate_interval]))", "{{result}}"),
            (f"sum({P}_recording_active{{m}})", "replicas that record")], colors=("written", "dropped", "failed")),
    ], collapsed=True)
