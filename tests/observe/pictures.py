"""Draws the dashboards from what a run measured. Panels, queries, units, thresholds, colours and layout are the dashboards' own;
matplotlib draws them. Grafana would draw them differently."""

import re
import textwrap

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator

from expressions import DASHBOARDS, interpolated
from freshness import DRAWN_FROM, digest

CELLS_PER_INCH = 3.4
INK, QUIET, PAPER, BACK = "#1f2430", "#6b7280", "#ffffff", "#f1f3f6"
COLORS = {
    "text": INK, "green": "#2f7d4f", "super-light-green": "#a8d5b5", "orange": "#e08e0b", "light-orange": "#f0b95b", "super-light-orange": "#f7d9a0",
    "dark-orange": "#b36b00", "red": "#c0323f", "dark-red": "#7f1d28", "yellow": "#d6b80d", "light-yellow": "#ead96b", "blue": "#2f6fb7", "purple": "#7a4fa3",
}
BY_NAME = ["#2f6fb7", "#d98e04", "#7a4fa3", "#0f8b8d", "#c2549d", "#8a6d3b", "#5c9e31", "#4b5563", "#3aa0d1", "#a0522d"]


class Picture:
    """A dashboard being drawn."""

    def __init__(self, dashboard, run):
        self.run, self.panels = run, dashboard["panels"]
        self.height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in self.panels_without_gaps())
        self.figure = plt.figure(figsize=(14, self.height / CELLS_PER_INCH))

    def panels_without_gaps(self):
        """The panels of open rows. A collapsed row takes one line."""
        gap = 0
        for panel in self.panels:
            grid = panel["gridPos"]
            if panel["type"] == "row" and panel is not self.panels[0]:
                gap = grid["y"] - self.bottom
            yield panel | {"gridPos": grid | {"y": grid["y"] - gap}}
            self.bottom = max(getattr(self, "bottom", 0), grid["y"] - gap + grid["h"])

    bottom = 0

    def draw(self):
        self.bottom = 0
        for panel in self.panels_without_gaps():
            grid = panel["gridPos"]
            place = grid["x"] / 24, 1 - (grid["y"] + grid["h"]) / self.height, grid["w"] / 24, grid["h"] / self.height
            if panel["type"] == "row":
                mark = f"▸ {panel['title']} ({len(panel['panels'])} panels)" if panel["collapsed"] else f"▾ {panel['title']}"
                self.figure.text(place[0] + 0.006, place[1] + place[3] * 0.3, mark, fontsize=9, fontweight="bold", color=QUIET if panel["collapsed"] else INK)
                continue
            self.frame(panel, place)
            getattr(self, panel["type"])(panel, place)
        return self.figure

    def frame(self, panel, place, face=PAPER):
        left, bottom, width, tall = place
        pad = 0.12 / self.height
        self.figure.patches.append(plt.Rectangle((left + 0.003, bottom + pad), width - 0.006, tall - 2 * pad, transform=self.figure.transFigure,
                                                 facecolor=face, edgecolor="#e2e5ea", linewidth=0.6, zorder=-1))
        color = INK if face == PAPER else PAPER
        self.figure.text(left + 0.009, bottom + tall - 0.9 / self.height, panel["title"], fontsize=7.2, fontweight="bold", color=color)

    def found(self, panel):
        """Each series of the panel by its legend, over the run; for an instant query, at its end."""
        if panel["targets"][0].get("instant"):
            return [(legend(target["legendFormat"], labels), [(self.run.prometheus.ended, value)]) for target in panel["targets"]
                    for labels, value in self.run.prometheus.at_the_end(interpolated(target["expr"], self.run.variables))]
        return [(legend(target["legendFormat"], labels), points) for target in panel["targets"]
                for labels, points in self.run.prometheus.over_the_run(interpolated(target["expr"], self.run.variables))]

    def nothing(self, panel, place):
        left, bottom, width, tall = place
        self.figure.text(left + width / 2, bottom + tall * 0.42, panel["fieldConfig"]["defaults"]["noValue"], fontsize=9, ha="center", color=QUIET)

    def text(self, panel, place):
        left, bottom, width, tall = place
        lines = [line for part in re.sub(r"\n +|(?<!\n)\n(?=[a-z])", " ", panel["options"]["content"]).split("\n") for line in textwrap.wrap(part.replace("**", "").replace("`", ""), int(width * 215)) or [""]]
        self.figure.text(left + 0.009, bottom + tall - 1.15 / self.height, "\n".join(lines), fontsize=7, va="top", linespacing=1.5)

    def stat(self, panel, place):
        left, bottom, width, tall = place
        defaults = panel["fieldConfig"]["defaults"]
        found = self.found(panel)
        if not found:
            return self.nothing(panel, place)
        share = width / len(found)
        for index, (name, points) in enumerate(found):
            value = points[-1][1]
            shown, color = text_of(value, defaults["unit"], defaults.get("decimals")), step_color(value, defaults)
            middle, ink = left + share * (index + 0.5), color
            if name in overridden(panel):
                ink = step_color(value, {"thresholds": overridden(panel)[name]})
            if mapped := mapping(value, defaults):
                self.frame(panel, place, face=color)
                shown, ink = mapped, PAPER
            self.figure.text(middle, bottom + tall * 0.34, shown, fontsize=15 if len(found) == 1 else 12, ha="center", color=ink)
            if len(found) > 1 or name[:1].isdigit():
                self.figure.text(middle, bottom + tall * 0.12, name, fontsize=6.5, ha="center", color=QUIET)

    def table(self, panel, place):
        left, bottom, width, tall = place
        defaults = panel["fieldConfig"]["defaults"]
        names = panel["transformations"][1]["options"]["renameByName"]
        labels = [label for label in names if not label.startswith("Value")]
        queries = [target["legendFormat"] for target in panel["targets"] if target["legendFormat"]]
        rows = {}
        for target in panel["targets"]:
            for found, value in self.run.prometheus.at_the_end(interpolated(target["expr"], self.run.variables)):
                rows.setdefault(tuple(found.get(label, "") for label in labels), {})[target["legendFormat"]] = value
        if not rows:
            return self.nothing(panel, place)
        headings, special = [*[names[label] for label in labels], *queries], overridden(panel)
        order = panel["options"]["sortBy"][0]["displayName"]
        key = (lambda row: -row[1][order]) if order in queries else (lambda row: row[0][headings.index(order)])
        top, line = bottom + tall - 1.9 / self.height, 0.95 / self.height
        for index, heading in enumerate(headings):
            x = left + 0.009 + (width - 0.02) * index / len(headings)
            self.figure.text(x, top, heading, fontsize=7.2, color=QUIET)
            for row, (found, values) in enumerate(sorted(rows.items(), key=key)[: panel["gridPos"]["h"] - 2], 1):
                value = values.get(heading)
                shown = found[index] if index < len(labels) else "" if value is None else text_of(value, defaults["unit"], defaults.get("decimals"))
                self.figure.text(x, top - row * line, shown, fontsize=7.2, color=cell_color(shown, value, special.get(heading)))

    def axes(self, place):
        left, bottom, width, tall = place
        return self.figure.add_axes((left + 0.04, bottom + 2.3 / self.height, width - 0.052, tall - 3.7 / self.height), facecolor=PAPER)

    def timeseries(self, panel, place):
        found = self.found(panel)
        if not found:
            return self.nothing(panel, place)
        axes, custom, unit = self.axes(place), panel["fieldConfig"]["defaults"]["custom"], panel["fieldConfig"]["defaults"]["unit"]
        found = sorted(sorted(found, key=lambda series: -sum(value for _, value in series[1]))[:10], key=lambda series: series[0])
        colors, started = series_colors(panel, [name for name, _ in found]), self.run.prometheus.started
        if custom["stacking"]["mode"] == "normal":
            times = sorted({at for _, points in found for at, _ in points})
            values = [[dict(points).get(at, 0) for at in times] for _, points in found]
            axes.stackplot([at - started for at in times], values, labels=[name for name, _ in found], colors=colors, alpha=0.75, linewidth=0)
        else:
            for (name, points), color in zip(found, colors):
                axes.plot([at - started for at, _ in points], [value for _, value in points], label=name, color=color, linewidth=1.1)
        if custom["scaleDistribution"]["type"] == "log":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        else:
            axes.set_ylim(bottom=min(0, axes.get_ylim()[0] if any(value < 0 for _, points in found for _, value in points) else 0))
            top = axes.get_ylim()[1]
            largest = max(value for _, points in found for _, value in points)
            axes.set_ylim(top=top if largest > 0 else 1)
            axes.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2, integer=unit == "short" and (largest >= 1 or largest == 0)))
        if unit == "bytes":
            axes.yaxis.set_major_locator(MultipleLocator(2 ** np.ceil(np.log2(axes.get_ylim()[1] / 5))))
        if custom.get("thresholdsStyle"):
            limits(axes, panel)
        axes.set_xlim(0, self.run.prometheus.ended - started)
        finish(axes, FuncFormatter(lambda value, _: text_of(value, unit)))
        # About so many characters fit into a line.
        columns = max(1, int(place[2] * 260 / (8 + max(len(name) for name, _ in found))))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncol=columns, fontsize=5.6, frameon=False, handlelength=1.2, columnspacing=1)

    def heatmap(self, panel, place):
        axes, started = self.axes(place), self.run.prometheus.started
        buckets = sorted(self.found(panel), key=lambda series: float(series[0].replace("+Inf", "inf")))
        times = sorted({at for _, points in buckets for at, _ in points})
        counts = np.array([[dict(points).get(at, 0) for at in times] for _, points in buckets])
        cells = np.diff(counts, axis=0, prepend=0).clip(min=0)
        axes.pcolormesh([at - started for at in times], range(len(buckets)), cells, cmap="Oranges", norm=PowerNorm(0.5), shading="nearest")
        ticks = range(0, len(buckets) - 1, 3)
        axes.set_yticks(ticks, [text_of(float(buckets[tick][0]), "s") for tick in ticks])
        finish(axes, None)


def draw(run, folder):
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"font.size": 7, "font.family": "DejaVu Sans", "text.color": INK, "axes.edgecolor": "#d4d8df",
                         "xtick.color": QUIET, "ytick.color": QUIET})
    for name, dashboard in DASHBOARDS.items():
        figure = Picture(dashboard, run).draw()
        figure.savefig(folder / f"{name}.png", dpi=100, facecolor=BACK, pil_kwargs={"optimize": True}, metadata={DRAWN_FROM: digest(name)})
        plt.close(figure)


def legend(template, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), template).strip().removeprefix("test ").removesuffix(" test")


def step_color(value, defaults):
    steps = defaults["thresholds"]["steps"]
    return COLORS[[step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]]


def cell_color(shown, value, override):
    """The colour of a cell, by the thresholds or the value mappings of its column."""
    if isinstance(override, dict) and value is not None:
        return step_color(value, {"thresholds": override})
    if isinstance(override, list):
        return COLORS[override[0]["options"].get(shown, {"color": "text"})["color"]]
    return INK


def overridden(panel):
    """What the panel sets for single series or columns, by their names."""
    return {override["matcher"]["options"]: override["properties"][0]["value"] for override in panel["fieldConfig"]["overrides"]}


def mapping(value, defaults):
    for each in defaults.get("mappings", []):
        if each["options"]["from"] <= value <= (each["options"]["to"] or float("inf")):
            return f"{each['options']['result']['text']}"
    return None


def series_colors(panel, names):
    """The colours that the panel fixes; otherwise one by the name."""
    fixed = {name: value["fixedColor"] for name, value in overridden(panel).items()}
    taken, colors = set(), []
    for name in names:
        if name in fixed:
            colors.append(COLORS.get(fixed[name], fixed[name]))
            continue
        index = sum(name.encode()) % len(BY_NAME)
        while index in taken and len(taken) < len(BY_NAME):
            index = (index + 1) % len(BY_NAME)
        taken.add(index)
        colors.append(BY_NAME[index])
    return colors


def limits(axes, panel):
    """Thresholds as dashed lines, where the scale shows them."""
    low, high = axes.get_ylim()
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is not None and low < step["value"] <= high:
            axes.axhline(step["value"], color=COLORS[step["color"]], linewidth=0.8, linestyle="--")


def finish(axes, formatter):
    if formatter is not None:
        axes.yaxis.set_major_formatter(formatter)
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
    axes.grid(axis="y", color="#edeff2", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", labelsize=6, length=0)
    axes.margins(x=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def text_of(value, unit, decimals=None):
    if unit == "percentunit":
        return f"{value * 100:.{decimals}f}%" if decimals is not None else f"{value * 100:.3g}%"
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= size * 0.9999:
                return f"{value / size:.3g} {name}"
        return "0"
    if unit == "bytes":
        for size, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
    shown = f"{value:.{decimals}f}" if decimals is not None else f"{value:.3g}"
    return shown + ("/s" if unit in ("reqps", "ops") and value else "")
