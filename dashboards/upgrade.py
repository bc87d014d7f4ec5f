"""The upgrade: is the candidate as good as the baseline?"""

from grafana import annotation, build, duration_variable, models, note, one_of, row

P = "pod_identity_webhook"
# A replica. `pod`, because with `hostNetwork` a rollout gives the same instance to the next pod. Where the scrape does not
# give one of these labels, it is empty on both sides.
REPLICA = "cluster, namespace, job, instance, pod"
ON_VERSION = f"* on ({REPLICA}) group_left (version) {P}_build_info{{m}}"
# Added to both shares of unanswered admissions: the error budget. 0 over 0 becomes 1, and a share far below it is no alarm.
BUDGET = 0.001
VERSION = "{{version}}"
NOTHING = "Nothing to compare"

HELP = """1. Choose **Baseline** (the old version) and **Candidate** (the new one).
2. Choose **Before**: how long ago only the baseline ran, longer than the rollout plus **Window**. During a long canary, a short Before compares both
   versions at nearly the same time.
3. Each ratio is the candidate now, over the last Window, divided by the baseline at Before.

Green: up to {orange} times the baseline. Orange: up to {red} times; look at the graph below. Red: worse; roll back."""


def upgrade(p):
    build_info = f"count by (version) ({P}_build_info{{m}})"
    before = f"count by (version) ({P}_build_info{{m}} offset 1m)"
    versions = f"label_values({P}_build_info{{{p.config['selectors']['webhook']}}}, version)"
    return build(p, "upgrade", "Pod identity webhook / Upgrade", "Two versions side by side: is the candidate as fast, as small and as correct as the baseline?",
        [verdict(p), rollout(p), correctness(p), speed(p), cost(p)],
        variables=[
            one_of("baseline", "Baseline", versions, models.VariableSort.NATURAL_ASC),
            one_of("candidate", "Candidate", versions, models.VariableSort.NATURAL_DESC),
            duration_variable("before", "Before", "How long ago the baseline ran", ["5m", "15m", "30m", "1h", "3h", "6h", "12h", "1d", "2d", "7d"], "1h"),
            duration_variable("window", "Window", "How much time each figure covers", ["2m", "5m", "10m", "30m", "1h"], "5m"),
        ],
        annotations=[
            annotation("A version starts or ends", "purple", p.expand(f"({build_info} unless {before}) or ({before} unless {build_info})")),
            annotation("Replicas of a version change", "blue", p.expand(f"{build_info} != {before}")),
        ])


class Side:
    """One of the two versions in the verdict: which, and when."""

    def __init__(self, variable, offset=""):
        self.is_it = f'and on ({REPLICA}) {P}_build_info{{m,version="${variable}"}}{offset}'
        self.offset = offset

    def sum(self, metric, by=""):
        return f"sum{by} (rate({metric}[$window]{self.offset}) {self.is_it})"

    def quantile(self, q):
        return f"histogram_quantile({q}, {self.sum(P + '_admission_duration_seconds_bucket{m}', ' by (le)')})"

    def cpu(self):
        return f"({self.sum('process_cpu_seconds_total{m}')} / {self.sum(P + '_admissions_total{m}')})"

    def memory(self):
        return f"avg(avg_over_time(process_resident_memory_bytes{{m}}[$window]{self.offset}) {self.is_it})"

    def unanswered(self):
        admissions, unavailable = P + "_admissions_total{m}", P + '_admissions_total{m,outcome="unavailable"}'
        return f"({self.sum(unavailable)} / ({self.sum(admissions)} > 0) + {BUDGET})"

    def outcomes(self):
        admissions = P + "_admissions_total{m}"
        return f"({self.sum(admissions, ' by (outcome)')} / on () group_left () ({self.sum(admissions)} > 0))"


BASELINE, CANDIDATE = Side("baseline", " offset $before"), Side("candidate")


def ratio(figure):
    """The figure of the candidate over that of the baseline; nothing, rather than NaN or Inf, where one of them is missing."""
    return f"({figure(CANDIDATE)} / {figure(BASELINE)} > 0 < Inf)"


RATIOS = {
    "p50": ratio(lambda side: side.quantile(0.5)),
    "p99": ratio(lambda side: side.quantile(0.99)),
    "CPU": ratio(Side.cpu),
    "memory": ratio(Side.memory),
    "unanswered": ratio(Side.unanswered),
}


def verdict(p):
    named = [f'label_replace({expression}, "figure", "{name}", "", "")' for name, expression in RATIOS.items()]
    worst = f"max({' or '.join(named)}) and on () ({RATIOS['p99']})"
    orange, red = p.config["thresholds"]["ratio"]
    mapped = [("As good", "green", 0, orange), ("Look closer", "orange", orange, red), ("Worse", "red", red, None)]
    mappings = [models.RangeMap(models.DashboardRangeMapOptions(low, high, models.ValueMappingResult(text, color, index=index)))
                for index, (text, color, low, high) in enumerate(mapped)]

    def stat(title, description, name):
        return p.stat(title, description, "short", [(RATIOS[name], name)], "ratio", no_value=NOTHING, decimals=2)

    return row("Verdict: candidate over baseline", [
        p.stat("Verdict", "The worst of the five ratios beside it. Worse: roll back with `kubectl rollout undo`, then look at the graphs.", "short", [(worst, "worst ratio")],
               "ratio", no_value=NOTHING, decimals=2, mappings=mappings),
        stat("Latency, p50", "Median latency of the candidate over that of the baseline. If it is worse, compare CPU per admission.", "p50"),
        stat("Latency, p99", "99th percentile, including waits for ServiceAccounts. If only this is worse, compare the waits and the watch errors.", "p99"),
        stat("CPU per admission", "CPU time of the whole process divided by its admissions.", "CPU"),
        stat("Memory per replica", "Resident memory. A replica that has just started uses less.", "memory"),
        stat("Unanswered", f"Share of the admissions that got 503, plus {BUDGET:.1%} on both sides, so that nothing over nothing is 1. If it is worse, roll back.", "unanswered"),
    ], [
        note("How to read this", HELP.format(orange=orange, red=red)).height(8),
        p.table("Outcomes", "Share of the admissions with each outcome. Both versions see the same kind of pods, so the shares should agree: "
                "if `injected` drops and the workloads did not change, roll back and compare both versions with `eks-pod-identity-webhook compare`.", [
            (BASELINE.outcomes(), "Baseline"), (CANDIDATE.outcomes(), "Candidate"),
            (f"{CANDIDATE.outcomes()} - on (outcome) {BASELINE.outcomes()}", "Difference")],
            {"outcome": "Outcome"}, "Baseline", unit="percentunit", decimals=2, no_value="0", differences="Difference"),
    ])


def by_version(expression):
    """Sums what an expression says of each replica by the version that it runs."""
    return f"sum by (version) ({expression} {ON_VERSION})"


def per(numerator, denominator):
    return f"{by_version(numerator)} / ({by_version(denominator)} > 0)"


def rate(metric, more=""):
    return f"rate({metric}{{m{more}}}[$__rate_interval])"


def version_quantile(q):
    rates = f"sum by ({REPLICA}, le) ({rate(f'{P}_admission_duration_seconds_bucket')})"
    return f"histogram_quantile({q}, sum by (version, le) ({rates} {ON_VERSION})) >= 0"


ADMISSIONS = rate(f"{P}_admissions_total")


def rollout(p):
    return row("Rollout", [
        p.series("Replicas", "Replicas by version. A rollout ends with one version.", "short", [(f"count by (version) ({P}_build_info{{m}})", VERSION)], stack=True),
        p.series("Ready replicas", "Ready replicas by version. If the new version never becomes ready, `/readyz` of its pod names the reason.", "short", [
            (by_version(f"{P}_ready{{m}}"), VERSION)], stack=True, runbook="PodIdentityWebhookReplicaNotReady"),
        p.series("Admissions", "Admissions by version. If the new version gets none, the Service does not select it yet, or kube-apiserver keeps its old connections.", "reqps", [
            (by_version(ADMISSIONS), VERSION)], stack=True),
    ])


def correctness(p):
    return row("Correctness", [
        p.series("Outcomes", "Share of the admissions with each outcome, by version. Lines of one outcome should agree.", "percentunit", [
            (f"sum by (version, outcome) ({ADMISSIONS} {ON_VERSION}) / on (version) group_left () ({by_version(ADMISSIONS)} > 0) > 0", "{{version}} {{outcome}}")],
            no_value="No admissions"),
        p.series("Unanswered", "Share of the admissions that got 503.", "percentunit", [
            (per(rate(f"{P}_admissions_total", ',outcome="unavailable"'), ADMISSIONS), VERSION)], no_value="No admissions",
            runbook="PodIdentityWebhookUnknownAccounts"),
        p.series("Warnings", "Answers with a warning. More than before: the new version reports mistakes that the old one did not; see CHANGELOG.md.", "reqps", [
            (by_version(rate(f"{P}_admission_warnings_total")), VERSION)]),
    ], [
        p.series("Refused requests", "Responses with a 4xx status code.", "reqps", [
            (by_version(rate(f"{P}_http_responses_total", ',code=~"4.."')), VERSION)], runbook="PodIdentityWebhookRequestsRefused"),
        p.series("Watch errors", "Failed list and watch calls, and manifests that cannot be read.", "ops", [
            (by_version(rate(f"{P}_watch_errors_total")), VERSION)], runbook="PodIdentityWebhookWatchFailing"),
        p.series("Failed handshakes", "Handshakes that failed or timed out.", "ops", [
            (by_version(rate(f"{P}_tls_handshakes_total", ',result!="ok"')), VERSION)], runbook="PodIdentityWebhookHandshakesFailing"),
    ])


def speed(p):
    return row("Latency", [
        p.series("Latency, p50", "Half of the answers are faster.", "s", [(version_quantile(0.5), VERSION)], no_value="No admissions"),
        p.series("Latency, p99", "Includes waits for ServiceAccounts.", "s", [(version_quantile(0.99), VERSION)], no_value="No admissions", runbook="PodIdentityWebhookSlow"),
        p.series("Latency, mean", "Includes waits for ServiceAccounts.", "s", [
            (per(rate(f"{P}_admission_duration_seconds_sum"), rate(f"{P}_admission_duration_seconds_count")), VERSION)], no_value="No admissions"),
    ])


def cost(p):
    return row("CPU and memory", [
        p.series("CPU per admission", "CPU time of the whole process divided by its admissions. Exact only under traffic.", "s", [
            (per(rate("process_cpu_seconds_total"), ADMISSIONS), VERSION)], no_value="No admissions"),
        p.series("CPU", "Cores in use by all replicas of a version.", "short", [(by_version(rate("process_cpu_seconds_total")), VERSION)]),
        p.series("Memory per replica", "Resident memory.", "bytes", [(per("process_resident_memory_bytes{m}", f"{P}_build_info{{m}}"), VERSION)]),
        p.series("Memory per ServiceAccount", "Resident memory divided by the known ServiceAccounts.", "bytes", [
            (per("process_resident_memory_bytes{m}", f"{P}_accounts{{m}}"), VERSION)]),
    ])
