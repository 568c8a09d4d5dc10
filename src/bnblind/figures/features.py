"""Figures of the penultimate features."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from bnblind.figures.naming import (
    BATCH_TITLES,
    batching_title,
    batchings_in,
    interval_text,
    norms_in,
    rows_in_order,
    where,
    with_labels,
)
from bnblind.figures.panels import grouped_places, jitter, name_groups, panel_grid, title_columns
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


def _draw_measure(axes: Axes, rows: pd.DataFrame, norm: str, place: float) -> None:
    before = where(rows, stage="before", mode="eval")["value"]
    axes.plot(before, [place] * len(before), ls="", marker="|", ms=8, mew=1, color="grey")
    for mode, (shift, filling) in {"eval": (-0.13, "full"), "random": (0.22, "none")}.items():
        after = where(rows, stage="after", mode=mode)["value"]
        places = [place + shift + 0.2 * moved for moved in jitter(len(after))]
        marks = LOOKS[norm].points | {"ms": 3, "mew": 0.8, "alpha": 0.8}
        axes.plot(after, places, fillstyle=filling, **marks)


def measures_by_norm(measures: Mapping[str, pd.DataFrame]) -> tuple[Figure, pd.DataFrame]:
    """Silhouette, nearest class mean and linear probe of every seed, start and end of training: a
    group of rows for each network and batching, a panel for each measure. ``measures``: what each
    network is called -> columns norm, batching, seed, epoch, mode, metric, value.
    """
    parts = [table.assign(network=name) for name, table in measures.items()]
    drawn = pd.concat(parts, ignore_index=True)
    drawn = drawn[drawn["metric"].isin(list(METRICS))]
    drawn = drawn.assign(stage=_stage(drawn))
    groups = {
        f"{name}, {batching_title(batching)}": where(drawn, network=name, batching=batching)
        for name in measures
        for batching in batchings_in(where(drawn, network=name))
    }
    rows = [(title, norm) for title, own in groups.items() for norm in norms_in(own)]
    places = grouped_places(rows)
    height = 0.8 + 0.19 * max(places.values())
    figure, panels = panel_grid(1, len(METRICS), height, sharey=True)
    for axes, (metric, label) in zip(panels[0], METRICS.items(), strict=True):
        for (title, norm), place in places.items():
            _draw_measure(axes, where(groups[title], norm=norm, metric=metric), norm, place)
        axes.grid(axis="y", lw=0.4, color="#E5E5E5")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel(label if metric == "silhouette" else f"{label}\n(accuracy)")
    name_groups(panels[0][0], places, lambda norm: LOOKS[norm].label)
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
    """Mean over the seeds before training → after it (t interval): one row per (batching, norm,
    mode).
    """
    rows = measures[measures["metric"].isin(list(METRICS))]
    keys = ["batching", "norm", "mode"]
    found = rows.groupby([*keys, "metric", _stage(rows)])["value"]
    before = found.mean().xs("before", level="stage").map("{:.3f} → ".format)
    text = before + found.agg(interval_text).xs("after", level="stage")
    table = text.unstack("metric")[list(METRICS)].rename(columns=METRICS).reset_index()
    orders = {"batching": batchings_in(rows), "norm": LOOKS, "mode": MODES}
    table = with_labels(rows_in_order(table, orders))
    return table.assign(mode=table["mode"].map(MODES)).rename_axis(columns=None)


def _draw_plane(axes: Axes, points: pd.DataFrame) -> None:
    """Every sample in its class's colour, and the class's number at the median."""
    centered: dict[str, Any] = {"ha": "center", "va": "center"}
    if len(points[["x", "y"]].drop_duplicates()) == 1:
        note = "one point:\nall images have\nthe same features"
        axes.text(0.5, 0.5, note, **centered, transform=axes.transAxes, color="grey")
        points = points[:0]
    for label, rows in points.groupby("label"):
        color = CLASS_COLORS[int(str(label)) % len(CLASS_COLORS)]
        axes.scatter(rows["x"], rows["y"], s=1.5, color=color, linewidths=0)
        x, y = rows[["x", "y"]].median()
        outline = [withStroke(linewidth=1.5, foreground="white")]
        bold: dict[str, Any] = {"fontsize": 7, "fontweight": "bold", "path_effects": outline}
        axes.text(x, y, str(label), **centered, **bold)
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(True)
    axes.spines[:].set(lw=0.5, color="grey")


def tsne_panels(
    planes: Mapping[str, pd.DataFrame], measures: Mapping[str, pd.DataFrame]
) -> tuple[Figure, pd.DataFrame]:
    """t-SNE of the test images' features: a row for each network, by what it is called, a column
    for each norm and batching; ``planes`` are one seed's, ``measures`` are printed below each
    panel.
    """
    drawn = pd.concat([plane.assign(network=name) for name, plane in planes.items()])
    columns = [*product(batchings_in(drawn), norms_in(drawn))]
    side = 2 * COLUMN / max(3, len(columns))
    height = (side + 0.3) * len(planes) + 0.3
    figure, panels = panel_grid(len(planes), len(columns), height, side * len(columns))
    keys = ["norm", "batching", "seed", "epoch", "metric"]
    for row, (name, plane) in zip(panels, planes.items(), strict=True):
        values = where(measures[name], mode="eval").set_index(keys)["value"]
        for axes, (batching, norm) in zip(row, columns, strict=True):
            points = where(plane, norm=norm, batching=batching)
            axes.set_visible(len(points) > 0)
            if len(points):
                _draw_plane(axes, points)
                seed, epoch = points[["seed", "epoch"]].iloc[0]
                found = [values[norm, batching, seed, epoch, m] for m in ("silhouette", "probe")]
                axes.set_xlabel("silhouette {:.2f},\nprobe {:.2f}".format(*found), fontsize=6.5)
        row[0].set_ylabel(name.replace(", ", ",\n"))
    batches = {name: title.replace(" ", "\n", 1) for name, title in BATCH_TITLES.items()}
    title_columns(panels, [f"{LOOKS[norm].label}\n{batches.get(b, b)}" for b, norm in columns])
    return figure, drawn
