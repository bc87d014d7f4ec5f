"""The tenants: which namespaces send admissions, and which have a problem?"""

from grafana import build, note, query_variable, row

TOTAL = "pod_identity_webhook_namespace_admissions_total"
WARNINGS = "pod_identity_webhook_namespace_admission_warnings_total"
NAMESPACE = "{{pod_namespace}}"
CHOSEN = ',pod_namespace=~"$pod_namespace"'
MISSING = "Needs --metrics-namespaces"

HELP = """This dashboard needs `--metrics-namespaces COUNT` (chart: `config.metricsNamespaces`). Only the first COUNT namespaces that send an admission have series
of their own; the others are counted as `other`. Choose a COUNT that your namespaces fit into.
Graphs show the ten largest namespaces of the time shown."""


def top(metric, more=""):
    """The rates of the ten namespaces with the most in the time shown, so that lines do not come and go."""
    series = f"{metric}{{m{CHOSEN}{more}}}"
    largest = f"topk(10, sum by (pod_namespace) (increase({series}[$__range] @ end())))"
    return f"sum by (pod_namespace) (rate({series}[$__rate_interval])) and on (pod_namespace) {largest}"


def tenants(p):
    total, other = f"{TOTAL}{{m}}", f'{TOTAL}{{m,pod_namespace="other"}}'
    namespaces = f'count(count by (cluster, pod_namespace) ({TOTAL}{{m,pod_namespace!="other"}}))'
    variable = query_variable("pod_namespace", "Pod namespace", f"label_values({TOTAL}{{{p.config['selectors']['webhook']}}}, pod_namespace)")
    return build(p, "tenants", "Pod identity webhook / Tenants", "Which namespaces send admissions, and which have a problem? Needs --metrics-namespaces.", [
        row("Problems", [
            note("What this needs", HELP),
        ], [
            p.series("Unanswered", "Pods that got 503, or whose caller went away, by namespace. Most often their ServiceAccounts are created together with the pods, or are missing "
                     "from the manifests: inform the owners.", "reqps", [(top(TOTAL, ',outcome="unavailable"'), NAMESPACE)], no_value=MISSING,
                     runbook="PodIdentityWebhookUnknownAccounts"),
            p.series("Warnings", "Admissions with a warning, by namespace: roles that are not ARNs, annotations with invalid values, other volumes at the token's path. "
                     "Inform the owners: controllers hide warnings.", "reqps", [(top(WARNINGS), NAMESPACE)], no_value=MISSING),
        ], [
            p.table("Totals in the time shown", "Admissions by namespace, and how many were injected, got 503, or got a warning.", [
                (f"sum by (pod_namespace) (increase({TOTAL}{{m{CHOSEN}}}[$__range]))", "Admissions"),
                (f'sum by (pod_namespace) (increase({TOTAL}{{m{CHOSEN},outcome="injected"}}[$__range]))', "Injected"),
                (f'sum by (pod_namespace) (increase({TOTAL}{{m{CHOSEN},outcome="unavailable"}}[$__range]))', "Unanswered"),
                (f"sum by (pod_namespace) (increase({WARNINGS}{{m{CHOSEN}}}[$__range]))", "Warnings")],
                {"pod_namespace": "Namespace"}, "Unanswered", decimals=0, no_value=MISSING),
        ]),
        row("Traffic", [
            p.series("Admissions", "Admissions by namespace. A namespace that dominates may have a controller in a loop.", "reqps", [(top(TOTAL), NAMESPACE)], stack=True, no_value=MISSING),
            p.series("Injected", "Pods that were given a role, by namespace.", "reqps", [(top(TOTAL, ',outcome="injected"'), NAMESPACE)], stack=True, no_value=MISSING),
        ], [
            p.stat("Namespaces", "Namespaces with series of their own.", "short", [(namespaces, "namespaces")], no_value=MISSING),
            p.stat("Share of other", "Share of the admissions from namespaces beyond the count. If it is large, raise `--metrics-namespaces`.", "percentunit", [
                (f"sum(rate({other}[$__rate_interval])) / (sum(rate({total}[$__rate_interval])) > 0)", "other")], "tenants_other", no_value=MISSING),
        ]),
    ], variables=[variable])
