"""Panels, rows and dashboards as Grafana's classic schema has them, with what ours share: variables, links, layout."""

import re

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
TAG = "eks-pod-identity-webhook"

# What every selector of ours holds. `{m}` in an expression stands for it, `{m,code="503"}` adds to it.
MATCHERS = 'cluster=~"$cluster", namespace=~"$namespace", job=~"$job", instance=~"$instance"'
# kube-apiserver is another job; its series about us carry the name of the webhook in the webhook configuration.
APISERVER = 'cluster=~"$cluster", name=~"(require-)?pod-identity[.]eks[.]amazonaws[.]com"'
# `pod` for `hostNetwork`: there, a rollout gives the same instance to the next pod, and for some scrapes both have series.
# Where a scrape gives no such label, it is as empty on both sides.
REPLICA = "cluster, namespace, job, instance, pod"
P = "pod_identity_webhook"


# --- expressions --------------------------------------------------------------------------------------------------

ON_VERSION = f"* on ({REPLICA}) group_left (version) {P}_build_info{{m}}"


def quantile(q, metric, matchers="{m}"):
    return f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{matchers}[$__rate_interval])))"


def expand(expression):
    """Puts the matchers in: `{m}`, `{m,code="503"}`, `{a}`."""
    expression = re.sub(r"\{m,?([^}]*)\}", lambda more: "{" + ", ".join(filter(None, [MATCHERS, more[1].strip().replace(',', ', ')])) + "}", expression)
    return expression.replace("{a}", "{" + APISERVER + "}")


# --- panels -------------------------------------------------------------------------------------------------------


def targets(queries, **more):
    return [{"datasource": DATASOURCE, "editorMode": "code", "expr": expand(expression), "legendFormat": legend,
             "range": True, "refId": chr(ord("A") + index), **more} for index, (expression, legend) in enumerate(queries)]


def panel(kind, title, description, height, queries, unit, custom, options, steps=None, **more):
    steps = steps or [("text", None)]
    return {
        "type": kind, "title": title, "description": description, "datasource": DATASOURCE,
        "gridPos": {"h": height},
        "targets": targets(queries, **more),
        "fieldConfig": {"defaults": {
            "unit": unit, "custom": custom, "color": {"mode": "thresholds" if kind == "stat" else "palette-classic"},
            "thresholds": {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]},
        }, "overrides": []},
        "options": options,
    }


def stat(title, description, unit, queries, steps=None):
    options = {"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
               "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    return panel("stat", title, description, 4, queries, unit, {}, options, steps)


def series(title, description, unit, queries, stack=False, log=False):
    custom = {"drawStyle": "line", "fillOpacity": 20 if stack else 5, "lineWidth": 1, "showPoints": "never", "spanNulls": False,
              "stacking": {"group": "A", "mode": "normal" if stack else "none"}, "axisSoftMin": 0,
              "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"}}
    if log:
        del custom["axisSoftMin"]
    options = {"legend": {"calcs": ["mean", "lastNotNull"], "displayMode": "table", "placement": "bottom", "showLegend": True},
               "tooltip": {"mode": "multi", "sort": "desc"}}
    return panel("timeseries", title, description, 8, queries, unit, custom, options)


def heatmap(title, description, unit, expression):
    options = {"calculate": False, "cellGap": 1, "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "scale": "exponential", "exponent": 0.5},
               "yAxis": {"unit": unit}, "legend": {"show": True}, "tooltip": {"mode": "single"}, "filterValues": {"le": 1e-9}, "rowsFrame": {"layout": "auto"}}
    return panel("heatmap", title, description, 8, [(expression, "{{le}}")], unit, {"scaleDistribution": {"type": "linear"}}, options, format="heatmap")


def table(title, description, queries):
    made = panel("table", title, description, 10, queries, "short", {"align": "auto"}, {"showHeader": True, "sortBy": [{"displayName": "Admissions", "desc": True}]},
                 instant=True, format="table")
    for target in made["targets"]:
        target["range"] = False
    names = {f"Value #{target['refId']}": target["legendFormat"] for target in made["targets"]}
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": {"pod_namespace": "Namespace", **names}}},
    ]
    return made


def row(title, *panels):
    return {"title": title, "panels": list(panels)}


def annotation(name, color, expression):
    return {"name": name, "enable": True, "hide": False, "iconColor": color, "datasource": DATASOURCE,
            "expr": expand(expression), "step": "60s", "titleFormat": name, "textFormat": "{{version}}", "useValueForTime": False}


# --- what the dashboards share ------------------------------------------------------------------------------------


def query_variable(name, label, query, every=".+"):
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "definition": query,
            "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
            "allValue": every, "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "hide": 0, "options": [], "regex": ""}


def shared_variables():
    info = f"{P}_build_info"
    narrowing = ['cluster=~"$cluster"', 'namespace=~"$namespace"', 'job=~"$job"']
    selector = lambda count: "{" + ", ".join(narrowing[:count]) + "}" if count else ""
    datasource = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {},
                  "hide": 0, "includeAll": False, "multi": False, "options": [], "refresh": 1, "regex": ""}
    # A Prometheus that scrapes one cluster gives its series no such label, and `.+` would match nothing there.
    return [datasource, query_variable("cluster", "Cluster", f"label_values({info}, cluster)", every=".*")] + [
        query_variable(name, label, f"label_values({info}{selector(count)}, {name})")
        for count, (name, label) in enumerate([("namespace", "Namespace"), ("job", "Job"), ("instance", "Instance")], 1)]


def lines(panels):
    """Up to four panels beside each other, as evenly as it goes; a table alone."""
    tables = [panel for panel in panels if panel["type"] == "table"]
    others = [panel for panel in panels if panel["type"] != "table"]
    count = -(-len(others) // 4)
    for index in range(count):
        size = -(-len(others) // (count - index))
        yield others[:size]
        others = others[size:]
    yield from ([table] for table in tables)


def dashboard(name, title, description, rows, variables=(), annotations=()):
    panels, y = [], 0
    for one in rows:
        panels.append({"type": "row", "title": one["title"], "collapsed": False, "panels": [], "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        y += 1
        for line in lines(one["panels"]):
            height = max(each["gridPos"]["h"] for each in line)
            for index, each in enumerate(line):
                each["gridPos"].update(x=index * 24 // len(line), y=y, w=24 // len(line), h=height)
            panels.extend(line)
            y += height
    for number, each in enumerate(panels, 1):
        each["id"] = number
    link = {"type": "dashboards", "title": "Pod identity webhook", "tags": [TAG], "asDropdown": False, "includeVars": True,
            "keepTime": True, "targetBlank": False, "icon": "external link", "tooltip": "", "url": ""}
    builtin = {"builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True, "iconColor": "rgba(0, 211, 255, 1)",
               "name": "Annotations & Alerts", "type": "dashboard"}
    return {
        "uid": f"{TAG}-{name}", "title": title, "description": description, "tags": [TAG], "schemaVersion": 42, "version": 1,
        "editable": False, "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "", "weekStart": "",
        "timepicker": {}, "fiscalYearStartMonth": 0, "preload": False, "liveNow": False,
        "links": [link], "annotations": {"list": [builtin, *annotations]},
        "templating": {"list": [*shared_variables(), *variables]}, "panels": panels,
    }
