"""Figures of the penultimate features."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from bnblind.figures.naming import (
    batching_title,
    batchings_in,
    norms_in,
    rows_in_order,
    spread,
    where,
    with_labels,
)
from bnblind.figures.panels import panel_grid, title_columns
from bnblind.figures.style import COLUMN, LOOKS

METRICS = {"silhouette": "silhouette", "ncm": "nearest class mean", "probe": "linear probe"}
MODES = {"eval": "evaluation mode", "random": "training mode, random batches"}
# Okabe & Ito's eight colours, then two of Brewer's that they leave room for.
CLASS_COLORS = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73", "#D8C700"),
    *("#0072B2", "#D55E00", "#CC79A7", "#999999", "#8C510A"),
)


def _stage(measures: pd.DataFrame) -> pd.Series:
    """``before`` training (epoch 0) or ``after`` it."""
    return measures["epoch"].eq(0).map({True: "before", False: "after"}).rename("stage")


def _draw_measure(axes: Axes, rows: pd.DataFrame, norms: list[str]) -> None:
    for place, norm in enumerate(norms):
        of_norm = where(rows, norm=norm)
        before = where(of_norm, stage="before", mode="eval")["value"]
        axes.plot(before, [place] * len(before), ls="", marker="|", ms=8, mew=1, color="grey")
        for mode, (shift, filling) in {"eval": (-0.13, "full"), "random": (0.22, "none")}.items():
            after = where(of_norm, stage="after", mode=mode)["value"]
            places = [place + shift] * len(after)
            axes.plot(after, places, **LOOKS[norm].points, fillstyle=filling, mew=0.8, alpha=0.8)


def measures_by_norm(measures: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Silhouette, nearest class mean and linear probe of every seed, start and end of training.

    Args:
        measures: one grid at one learning rate, columns norm, batching, seed, epoch, mode,
            metric, value; epochs 0 and the last.
    """
    drawn = measures[measures["metric"].isin(list(METRICS))]
    drawn = drawn.assign(stage=_stage(drawn))
    batchings, norms = batchings_in(drawn), norms_in(drawn)
    height = 0.7 + len(batchings) * (0.35 + 0.19 * len(norms))
    figure, panels = panel_grid(len(batchings), len(METRICS), height, sharex="col", sharey=True)
    for row, batching in zip(panels, batchings, strict=True):
        for axes, metric in zip(row, METRICS, strict=True):
            _draw_measure(axes, where(drawn, batching=batching, metric=metric), norms)
            axes.grid(axis="y", lw=0.4, color="#E5E5E5")
            axes.tick_params(axis="y", length=0)
        row[0].set_title(batching_title(batching), loc="left")
    for axes, (metric, label) in zip(panels[-1], METRICS.items(), strict=True):
        axes.set_xlabel(label if metric == "silhouette" else f"{label} (accuracy)")
    panels[0][0].set_yticks(range(len(norms)), [LOOKS[norm].label for norm in norms])
    panels[0][0].set_ylim(len(norms) - 0.5, -0.5)
    figure.legend(handles=_stage_handles(drawn), loc="outside lower center", ncols=3)
    return figure, drawn


def _stage_handles(drawn: pd.DataFrame) -> list[Line2D]:
    def handle(label: str, marker: str, **look: Any) -> Line2D:
        return Line2D([], [], ls="", marker=marker, label=label, **look)

    handles = [
        handle("before training (evaluation mode)", "|", color="grey", ms=8),
        handle(f"after it, {MODES['eval']}", "o", color="black"),
    ]
    if "random" in set(drawn["mode"]):
        handles.append(handle(f"after it, {MODES['random']}", "o", color="black", fillstyle="none"))
    return handles


def measures_table(measures: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds before training → after it (smallest to largest): one row per (batching,
    norm, mode).
    """
    rows = measures[measures["metric"].isin(list(METRICS))]
    keys = ["batching", "norm", "mode"]
    found = rows.groupby([*keys, "metric", _stage(rows)])["value"]
    before = found.mean().xs("before", level="stage").map("{:.3f} → ".format)
    text = before + found.agg(spread).xs("after", level="stage")
    table = text.unstack("metric")[list(METRICS)].rename(columns=METRICS).reset_index()
    orders = {"batching": batchings_in(rows), "norm": LOOKS, "mode": MODES}
    table = with_labels(rows_in_order(table, orders))
    return table.assign(mode=table["mode"].map(MODES)).rename_axis(columns=None)


def _draw_plane(axes: Axes, points: pd.DataFrame) -> None:
    """Every sample in its class's colour, and the class's number at the median."""
    centered: dict[str, Any] = {"ha": "center", "va": "center"}
    if len(points[["x", "y"]].drop_duplicates()) == 1:
        note = "one point: all images\nhave the same features"
        axes.text(0.5, 0.5, note, **centered, transform=axes.transAxes, color="grey")
        points = points[:0]
    for label, rows in points.groupby("label"):
        color = CLASS_COLORS[int(str(label)) % len(CLASS_COLORS)]
        axes.scatter(rows["x"], rows["y"], s=3, color=color, linewidths=0)
        x, y = rows[["x", "y"]].median()
        outline = [withStroke(linewidth=1.5, foreground="white")]
        bold: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "path_effects": outline}
        axes.text(x, y, str(label), **centered, **bold)
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(True)
    axes.spines[:].set(lw=0.5, color="grey")


def tsne_panels(plane: pd.DataFrame, measures: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """t-SNE of the test images' features: one panel per norm (columns) and batching (rows).

    Args:
        plane: one grid at one learning rate, one seed; columns norm, batching, seed, epoch,
            label, x, y.
        measures: of the same networks, printed below each panel.
    """
    batchings, norms = batchings_in(plane), norms_in(plane)
    columns = ["norm", "batching", "seed", "epoch", "metric"]
    values = where(measures, mode="eval").set_index(columns)["value"]
    side = 2 * COLUMN / max(3, len(norms))
    height, width = side * len(batchings) * 1.05, side * len(norms)
    figure, panels = panel_grid(len(batchings), len(norms), height, width)
    for row, batching in zip(panels, batchings, strict=True):
        for axes, norm in zip(row, norms, strict=True):
            points = where(plane, norm=norm, batching=batching)
            _draw_plane(axes, points)
            seed, epoch = points[["seed", "epoch"]].iloc[0]
            found = {m: values[norm, batching, seed, epoch, m] for m in ("silhouette", "probe")}
            axes.set_xlabel(f"silhouette {found['silhouette']:.2f}, probe {found['probe']:.2f}")
        row[0].set_ylabel(batching_title(batching).replace(" on ", " on\n"))
    title_columns(panels, [LOOKS[norm].label for norm in norms])
    return figure, plane
