"""Draws dashboards from what a run measured, for the README: panels, queries, units and layout are the dashboards' own,
the drawing is matplotlib's. It is not what Grafana would draw."""

import re

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FuncFormatter, MultipleLocator

from expressions import DASHBOARDS, interpolated

# How many rows of panels are shown, and how many grid cells high an inch is.
ROWS = {"overview": 3, "upgrade": 4, "tenants": 2}
CELLS_PER_INCH = 3.4
INK, QUIET, PAPER, BACK = "#1f2430", "#6b7280", "#ffffff", "#f1f3f6"
COLORS = ["#2f7d4f", "#d98e04", "#2f6fb7", "#b23a48", "#7a4fa3", "#0f8b8d", "#8a6d3b", "#4b5563", "#c2549d", "#5c9e31"]


def draw(prometheus, folder):
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"font.size": 7, "font.family": "DejaVu Sans", "text.color": INK, "axes.edgecolor": "#d4d8df",
                         "xtick.color": QUIET, "ytick.color": QUIET})
    for name, rows in ROWS.items():
        figure = draw_dashboard(DASHBOARDS[name], rows, prometheus)
        figure.savefig(folder / f"{name}.png", dpi=100, facecolor=BACK, pil_kwargs={"optimize": True})
        plt.close(figure)


def draw_dashboard(dashboard, rows, prometheus):
    panels, seen = [], 0
    for panel in dashboard["panels"]:
        seen += panel["type"] == "row"
        if seen <= rows and panel["type"] != "table":
            panels.append(panel)
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = plt.figure(figsize=(13, height / CELLS_PER_INCH))
    for panel in panels:
        grid = panel["gridPos"]
        left, bottom = grid["x"] / 24, 1 - (grid["y"] + grid["h"]) / height
        width, tall = grid["w"] / 24, grid["h"] / height
        if panel["type"] == "row":
            figure.text(left + 0.008, bottom + tall * 0.3, panel["title"], fontsize=9, fontweight="bold")
            continue
        pad = 0.15 / height
        figure.patches.append(plt.Rectangle((left + 0.004, bottom + pad), width - 0.008, tall - 2 * pad, transform=figure.transFigure,
                                            facecolor=PAPER, edgecolor="#e2e5ea", linewidth=0.6, zorder=-1))
        figure.text(left + 0.011, bottom + tall - 0.95 / height, panel["title"], fontsize=7.5, fontweight="bold")
        found = [(legend(target["legendFormat"], labels), points) for target in panel["targets"]
                 for labels, points in prometheus.over_the_run(interpolated(target["expr"], 75))]
        if panel["type"] == "stat":
            draw_stat(figure, (left, bottom, width, tall), panel, found)
        else:
            axes = figure.add_axes((left + 0.042, bottom + 2.3 / height, width - 0.056, tall - 3.8 / height), facecolor=PAPER)
            (draw_heatmap if panel["type"] == "heatmap" else draw_lines)(axes, panel, found, prometheus.started)
    return figure


def legend(template, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), template)


def draw_stat(figure, place, panel, found):
    left, bottom, width, tall = place
    unit = panel["fieldConfig"]["defaults"]["unit"]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    share = width / max(1, len(found))
    for index, (name, points) in enumerate(found):
        value = points[-1][1]
        color = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
        color = {"text": INK, "green": COLORS[0], "orange": COLORS[1], "red": COLORS[3]}[color]
        middle = left + share * (index + 0.5)
        figure.text(middle, bottom + tall * 0.34, text_of(value, unit), fontsize=15, ha="center", color=color)
        if len(found) > 1:
            figure.text(middle, bottom + tall * 0.12, name, fontsize=6.5, ha="center", color=QUIET)


def draw_lines(axes, panel, found, started):
    custom = panel["fieldConfig"]["defaults"]["custom"]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    largest = sorted(found, key=lambda series: -sum(value for _, value in series[1]))[:10]
    found = sorted(largest, key=lambda series: series[0])
    if custom["stacking"]["mode"] == "normal" and found:
        times = sorted({at for _, points in found for at, _ in points})
        values = [[dict(points).get(at, 0) for at in times] for _, points in found]
        axes.stackplot([at - started for at in times], values, labels=[name for name, _ in found], colors=COLORS, alpha=0.75, linewidth=0)
    else:
        for (name, points), color in zip(found, COLORS):
            axes.plot([at - started for at, _ in points], [value for _, value in points], label=name, color=color, linewidth=1.1)
    if custom["scaleDistribution"]["type"] == "log":
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    if unit == "bytes":
        axes.yaxis.set_major_locator(MultipleLocator(2 ** np.ceil(np.log2(axes.get_ylim()[1] / 5))))
    finish(axes, FuncFormatter(lambda value, _: text_of(value, unit)))
    if found:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncol=3, fontsize=5.8, frameon=False, handlelength=1.2, columnspacing=1)


def draw_heatmap(axes, panel, found, started):
    buckets = sorted(found, key=lambda series: float(series[0].replace("+Inf", "inf")))
    times = sorted({at for _, points in buckets for at, _ in points})
    counts = np.array([[dict(points).get(at, 0) for at in times] for _, points in buckets])
    cells = np.diff(counts, axis=0, prepend=0).clip(min=0)
    axes.pcolormesh([at - started for at in times], range(len(buckets)), cells, cmap="Oranges", norm=PowerNorm(0.5), shading="nearest")
    ticks = range(0, len(buckets) - 1, 3)
    axes.set_yticks(ticks, [text_of(float(buckets[tick][0]), "s") for tick in ticks])
    finish(axes, None)


def finish(axes, formatter):
    if formatter is not None:
        axes.yaxis.set_major_formatter(formatter)
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
    axes.grid(axis="y", color="#edeff2", linewidth=0.6)
    axes.tick_params(labelsize=6, length=0)
    axes.margins(x=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def text_of(value, unit):
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= size * 0.9999:
                return f"{value / size:.3g} {name}"
        return "0"
    if unit == "bytes":
        for size, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
    return f"{value:.3g}" + ("/s" if unit in ("reqps", "ops") and value else "")
