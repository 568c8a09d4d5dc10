"""Figure of the toy task whose only signal is first-order."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from bnblind.figures.naming import interval_text, norms_in, where, with_labels
from bnblind.figures.panels import draw_band, legend_below, log_scale, panel_grid
from bnblind.figures.style import COLUMN, FLOOR, LOOKS

PANELS = {"displacement": "|W − W(0)| / |W(0)|", "fall": "|change of the loss|"}
TITLES = {"displacement": "Do the weights move?", "fall": "Does the loss fall?"}
ROUNDING = 1e-9
"""Below it the axes are broken: what float64's rounding makes of a zero lies there."""


def by_cycle(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per (norm, seed, cycle through the classes): ``displacement`` at its first step, and
    ``fall``, the size of the change of its mean loss since the first cycle.
    """
    classes = rows["label"].max() + 1
    keys = ["norm", "seed", "cycle"]
    grouped = rows.assign(cycle=rows["step"] // classes).groupby(keys, sort=False)
    cycles = grouped.agg(
        step=("step", "first"), displacement=("displacement", "first"), loss=("loss", "mean")
    ).reset_index()
    first = cycles.groupby(["norm", "seed"])["loss"].transform("first")
    cycles["fall"] = (cycles["loss"] - first).abs()
    return cycles[cycles["cycle"] > 0].drop(columns="loss")


def _draw(axes: Axes, cycles: pd.DataFrame, column: str) -> None:
    """For each norm the mean over the seeds, and its interval around it."""
    for i, norm in enumerate(norms_in(cycles)):
        rows = where(cycles, norm=norm).assign(value=lambda c: c[column])
        # Lines lie on each other; their markers stand at different steps.
        marked = (i % min(4, rows["step"].nunique()), 4)
        draw_band(axes, rows, "step", FLOOR, **LOOKS[norm].line, markevery=marked)
    log_scale(axes, "y")


def _break_axis(above: Axes, below: Axes) -> None:
    """Show values above ``ROUNDING`` in the upper axes, the rest in the lower ones."""
    values = np.concatenate([line.get_ydata() for line in above.lines])
    large = values[values > ROUNDING]
    if large.size:
        above.set_ylim(large.min() / 2, large.max() * 2)
    above.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    above.yaxis.set_major_formatter("{x:g}")
    below.set_ylim(FLOOR / 3, 1e-14)
    above.spines["bottom"].set_visible(False)
    above.tick_params(axis="x", length=0)
    stroke: dict[str, Any] = {"marker": [(-1, -0.6), (1, 0.6)], "ms": 6, "mew": 0.8, "ls": ""}
    for axes, end in ((above, 0), (below, 1)):
        axes.plot(0, end, transform=axes.transAxes, clip_on=False, color="black", **stroke)
    below.annotate(
        "float64 rounding", (1, 1), xycoords="axes fraction", ha="right", va="top", fontsize=6,
        color="grey",
    )  # fmt: skip


def linear_signal(rows: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Displacement of the weights, and change of the loss, against the step; ``rows`` are of at
    least two cycles through the classes. Changes below ``FLOOR`` are drawn at it.
    """
    drawn = by_cycle(rows)
    figure, panels = panel_grid(2, 2, 1.15 * COLUMN, sharex=True, height_ratios=[3, 1])
    for (above, below), (column, unit) in zip(panels.T, PANELS.items(), strict=True):
        for axes in (above, below):
            _draw(axes, drawn, column)
        _break_axis(above, below)
        above.set(title=TITLES[column], ylabel=unit)
        below.set_xlabel("step of gradient descent")
    legend_below(figure, panels[0][0], 4)
    return figure, drawn


def displacement_table(rows: pd.DataFrame) -> pd.DataFrame:
    """After the last step drawn: displacement of the weights and change of the loss; one row per
    norm.
    """
    cycles = by_cycle(rows)
    last = cycles[cycles["step"] == cycles["step"].max()]
    table = {
        unit: last.groupby("norm", sort=False)[column].agg(interval_text, digits=".2g")
        for column, unit in PANELS.items()
    }
    seeds = last.groupby("norm", sort=False)["seed"].nunique()
    found = pd.DataFrame({**table, "seeds": seeds}).reset_index()
    return with_labels(found)
