"""Panels, rows and dashboards with the settings that all of ours share, on Grafana's builder library."""

import json
import re

from grafana_foundation_sdk.builders import common, dashboard as dash, heatmap as heat, prometheus
from grafana_foundation_sdk.builders import stat as stats, table as tables, text as texts, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds, dashboard as models, heatmap as heat_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

DATASOURCE = kinds.DataSourceRef("prometheus", "${datasource}")
TAG = "eks-pod-identity-webhook"
GREY = "#8e8e8e"

# Colours by the name of a series. Green is as it should be, red is a pod or a call that failed.
COLORS = {
    "injected": "green", "unchanged": "super-light-green", "skipped": "blue", "unavailable": "red", "invalid": "orange",
    "200": "green", "400": "orange", "404": "light-orange", "405": "super-light-orange", "408": "dark-orange", "413": "yellow",
    "415": "light-yellow", "503": "red", "other": GREY,
    "arrived": "green", "timed_out": "red", "abandoned": "orange", "refused": "dark-red",
    "ok": "green", "failed": "red", "written": "green", "dropped": "orange",
    "annotated": "green", "mapped": "blue", "container_credentials": "purple", "malformed": "red", "unannotated": GREY,
    "used": "green", "errors": "red", "not ready": "red", "failing": "red", "peak": GREY, "desired": GREY,
    "p50": "green", "p90": "blue", "p99": "orange", "p99.9": "red",
}


class Panels:
    """Makes panels by a configuration: selectors, thresholds and links."""

    def __init__(self, config):
        self.config = config

    def expand(self, expression):
        """Puts the matchers in: `{m}` or `{m,code="503"}` for the webhook, `{a}` for kube-apiserver, `{k}` for kube-state-metrics."""
        selectors = {"m": "webhook", "a": "apiserver", "k": "kube_state_metrics", "alerts": "alerts"}

        def matchers(found):
            more = [part for part in (found[2] or "").strip(",").split(",") if part]
            return "{" + ", ".join([self.config["selectors"][selectors[found[1]]], *more]) + "}"

        return re.sub(r"\{(m|a|k|alerts)((?:,[^}]*)?)\}", matchers, expression)

    def steps(self, name):
        """The steps of a threshold of the configuration. `None`: no value is bad. `bad`, `odd`: any value above 0 is red, or orange."""
        if name is None:
            return [models.Threshold(color="text")]
        if name in ("bad", "odd"):
            return [models.Threshold(color="green"), models.Threshold(1e-9, {"bad": "red", "odd": "orange"}[name])]
        orange, red = self.config["thresholds"][name]
        if orange < red:
            return [models.Threshold(color="green"), models.Threshold(orange, "orange"), models.Threshold(red, "red")]
        return [models.Threshold(color="red"), models.Threshold(red, "orange"), models.Threshold(orange, "green")]

    def link(self, title, page, anchor=""):
        return dash.DashboardLink(title).type(models.DashboardLinkType.LINK).icon("doc").target_blank(True).url(f"{self.config['links'][page]}{anchor}")

    def links(self, runbook, audit):
        """Links of a panel to the section of the runbook about an alert, and to the page of `audit`."""
        wanted = [("Runbook", "runbook", f"#{runbook.lower()}")] if runbook else []
        wanted += [("Find the pods: audit", "audit", "")] if audit else []
        return [self.link(*one) for one in wanted if self.config["links"][one[1]]]

    def common(self, panel, title, description, unit, queries, thresholds, no_value, runbook=None, audit=False, instant=False, form=None):
        """What panels of every kind have. The name of the runbook's section is in the description, with or without a link to it."""
        if runbook:
            description += f" Runbook: {runbook}."
        panel.title(title).description(description).datasource(DATASOURCE).unit(unit).no_value(no_value)
        panel.thresholds(dash.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(self.steps(thresholds)))
        if links := self.links(runbook, audit):
            panel.links(links)
        for index, (expression, legend) in enumerate(queries):
            panel.with_target(self.query(expression, legend, chr(ord("A") + index), instant, form))
        return panel

    def query(self, expression, legend, ref, instant, form):
        query = prometheus.Dataquery().datasource(DATASOURCE).expr(self.expand(expression)).legend_format(legend).ref_id(ref)
        query.editor_mode(QueryEditorMode.CODE)
        query = query.instant() if instant else query.range()
        return query.format(form) if form else query

    def stat(self, title, description, unit, queries, thresholds=None, no_value="Not scraped", decimals=None, mappings=None, others=None, **more):
        """Values of this moment: a series that has ended keeps no value. `others` are thresholds of single values, by legend."""
        panel = self.common(stats.Panel(), title, description, unit, queries, thresholds, no_value, instant=True, **more).height(4)
        panel.color_scheme(dash.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)).graph_mode(kinds.BigValueGraphMode.NONE)
        panel.color_mode(kinds.BigValueColorMode.BACKGROUND_SOLID if mappings else kinds.BigValueColorMode.VALUE)
        panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        for legend, other in (others or {}).items():
            steps = {"mode": "absolute", "steps": self.steps(other)}
            panel.override_by_name(legend, [models.DynamicConfigValue("thresholds", steps)])
        if decimals is not None:
            panel.decimals(decimals)
        return panel.mappings(mappings) if mappings else panel

    def series(self, title, description, unit, queries, stack=False, log=False, thresholds=None, no_value="Not scraped", colors=(), **more):
        panel = self.common(timeseries.Panel(), title, description, unit, queries, thresholds, no_value, **more).height(8)
        panel.color_scheme(dash.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        panel.draw_style(kinds.GraphDrawStyle.LINE).line_width(1).fill_opacity(20 if stack else 5).show_points(kinds.VisibilityMode.NEVER)
        panel.stacking(common.StackingConfig().group("A").mode(kinds.StackingMode.NORMAL if stack else kinds.StackingMode.NONE))
        scale = common.ScaleDistributionConfig()
        panel.scale_distribution(scale.type(kinds.ScaleDistribution.LOG).log(10) if log else scale.type(kinds.ScaleDistribution.LINEAR))
        if not log:
            panel.axis_soft_min(0)
        if thresholds in self.config["thresholds"]:
            panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED))
        panel.legend(common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.TABLE).placement(kinds.LegendPlacement.BOTTOM)
                     .show_legend(True).calcs(["mean", "lastNotNull"]))
        panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
        for name in colors:
            panel.override_by_name(name, [models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": COLORS[name]})])
        return panel

    def heatmap(self, title, description, unit, expression, **more):
        panel = self.common(heat.Panel(), title, description, unit, [(expression, "{{le}}")], None, "No admissions", form=PromQueryFormat.HEATMAP, **more)
        color = heat.HeatmapColorOptions().mode(heat_models.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
        color.scale(heat_models.HeatmapColorScale.EXPONENTIAL).exponent(0.5)
        return panel.height(8).calculate(False).cell_gap(1).color(color).y_axis(heat.YAxisConfig().unit(unit)).show_legend().filter_values(heat.FilterValueRange().le(1e-9))

    def table(self, title, description, queries, labels, sort_by, unit="short", thresholds=None, decimals=None, descending=True, differences=None, **more):
        """A column for each label, under its title, and for each query. A line for each combination of labels."""
        panel = self.common(tables.Panel(), title, description, unit, queries, thresholds, instant=True, form=PromQueryFormat.TABLE, **more)
        columns = {f"Value #{chr(ord('A') + index)}": legend for index, (_, legend) in enumerate(queries)} if len(queries) > 1 else {}
        shown = {**labels, **columns}
        panel.with_transformation(models.DataTransformerConfig("merge", options={}))
        panel.with_transformation(models.DataTransformerConfig("organize", options={
            "excludeByName": {"Time": True, **({} if columns else {"Value": True})}, "renameByName": shown,
            "indexByName": {name: index for index, name in enumerate(shown)}}))
        panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(descending)])
        if differences:
            panel.override_by_name(differences, self.difference())
        return panel.height(8) if decimals is None else panel.height(8).decimals(decimals)

    def difference(self):
        """Colours of a column of differences: the further from 0 on either side, the worse."""
        orange, red = self.config["thresholds"]["outcome_difference"]
        steps = [(None, "red"), (-red, "orange"), (-orange, "green"), (orange, "orange"), (red, "red")]
        thresholds = {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}
        return [models.DynamicConfigValue("thresholds", thresholds), models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"})]

    def alerts(self, title, description, expression, **more):
        """A table of alerts. Each name is a link to its section of the runbook, whose anchor is the name in lower case."""
        linked = bool(self.config["links"]["runbook"])
        if linked:
            expression = f'label_replace({expression}, "section", "$1", "alertname", "(.*)")'
        columns = {"alertname": "Alert", "severity": "Severity", "cluster": "Cluster", "namespace": "Namespace"}
        panel = self.table(title, description, [(expression, "")], columns, "Severity", descending=False, **more)
        colors = {"critical": "red", "warning": "orange", "info": "blue"}
        results = {name: models.ValueMappingResult(name, color, index=index) for index, (name, color) in enumerate(colors.items())}
        panel.override_by_name("Severity", [models.DynamicConfigValue("mappings", [models.ValueMap(results)]),
                                            models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"})])
        if linked:
            panel.with_transformation(models.DataTransformerConfig("formatString", options={"stringField": "section", "outputFormat": "Lower Case"}))
            panel.override_by_name("section", [models.DynamicConfigValue("custom.hidden", True)])
            url = f"{self.config['links']['runbook']}#${{__data.fields.section}}"
            panel.override_by_name("Alert", [models.DynamicConfigValue("links", [{"title": "Runbook", "url": url, "targetBlank": True}])])
        return panel.height(6)


def note(title, content):
    """A panel of text."""
    return texts.Panel().title(title).content(content).height(3)


def spans(count):
    """The widths of panels that share a line, as even as 24 columns allow."""
    return [24 * (index + 1) // count - 24 * index // count for index in range(count)]


def row(title, *lines, collapsed=False):
    return title, lines, collapsed


def annotation(name, color, expression):
    return dash.AnnotationQuery().name(name).enable(True).hide(False).icon_color(color).datasource(DATASOURCE).expr(expression)


def query_variable(name, label, query, every=".+"):
    """A variable of which several values, or all, can be chosen."""
    variable = dash.QueryVariable(name).label(label).datasource(DATASOURCE).query({"query": query, "refId": name})
    variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    return variable.multi(True).include_all(True).all_value(every).current(models.VariableOption(True, ["All"], ["$__all"]))


def one_of(name, label, query, sort):
    """A variable of which one value is chosen; the first, if nothing else is."""
    variable = dash.QueryVariable(name).label(label).datasource(DATASOURCE).query({"query": query, "refId": name})
    return variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(sort).multi(False).include_all(False)


def duration_variable(name, label, description, values, chosen):
    variable = dash.IntervalVariable(name).label(label).description(description).values(",".join(values))
    return variable.auto(False).current(models.VariableOption(True, chosen, chosen))


def shared_variables():
    info = "pod_identity_webhook_build_info"
    narrowing = ['cluster=~"$cluster"', 'namespace=~"$namespace"', 'job=~"$job"']
    # A Prometheus that scrapes one cluster gives its series no label `cluster`, and `.+` would match nothing there.
    variables = [dash.DatasourceVariable("datasource").label("Data source").type("prometheus"),
                 query_variable("cluster", "Cluster", f"label_values({info}, cluster)", every=".*")]
    for count, (name, label) in enumerate([("namespace", "Namespace"), ("job", "Job"), ("instance", "Instance")], 1):
        variables.append(query_variable(name, label, f"label_values({info}{{{', '.join(narrowing[:count])}}}, {name})"))
    return variables


def build(panels, name, title, description, rows, variables=(), annotations=()):
    """A dashboard, as it is written to a file."""
    built = dash.Dashboard(title).uid(f"{TAG}-{name}").description(description).tags([TAG]).readonly().refresh("30s").time("now-1h", "now")
    built.timezone("").tooltip(models.DashboardCursorSync.CROSSHAIR).version(1)
    built.variables([*shared_variables(), *variables]).annotations(list(annotations))
    built.link(dash.DashboardLink("Pod identity webhook").type(models.DashboardLinkType.DASHBOARDS).tags([TAG]).include_vars(True).keep_time(True))
    if panels.config["links"]["runbook"]:
        built.link(panels.link("Runbook", "runbook"))
    number = 0
    for heading, lines, collapsed in rows:
        made = dash.Row(heading).id(number := number + 1)
        flat = []
        for line in lines:
            flat += [panel.span(width).id(number := number + 1) for panel, width in zip(line, spans(len(line)))]
        for panel in flat if collapsed else []:
            made.with_panel(panel)
        built.with_row(made)
        for panel in [] if collapsed else flat:
            built.with_panel(panel)
    return completed(json.loads(JSONEncoder(sort_keys=False).encode(built.build())))


def completed(dashboard):
    """What the library cannot say: how annotations of Prometheus are titled. Links and annotations stay in sight."""
    for shown in [*dashboard["links"], *dashboard["annotations"].get("list", [])]:
        del shown["placement"]
    for each in dashboard["annotations"].get("list", []):
        each |= {"step": "60s", "titleFormat": each["name"], "textFormat": "{{version}}"}
    return dashboard
