"""Parts of panels that several figures have: seeds, levels, legends."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from bnblind.figures.naming import norms_in
from bnblind.figures.style import LOOKS


def draw_against(axes: Axes, rows: pd.DataFrame, setting: str) -> None:
    """For each norm the seeds as points and their mean as a line.

    Args:
        rows: columns norm, value and ``setting``, one row per seed. A value that is NaN (a run that
            diverged) counts for no mean, and is a cross at the foot of the panel.
    """
    for norm in norms_in(rows):
        look, own = LOOKS[norm], rows[rows["norm"] == norm]
        mean = own.groupby(setting)["value"].mean()
        axes.plot(mean.index, mean, color=look.color, marker=look.marker, label=look.label)
        axes.plot(
            own[setting], own["value"], color=look.color, marker=look.marker, linestyle="",
            markersize=2.5, alpha=0.5,
        )  # fmt: skip
        lost = own[own["value"].isna()]
        axes.plot(lost[setting], [0.02] * len(lost), color=look.color, marker="x", linestyle="")


def legend_below(figure: Figure, axes: Axes) -> None:
    """What is drawn in ``axes``, named in one line below all panels."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))


def mark_level(panels: Sequence[Axes], level: float, name: str, side: str = "right") -> None:
    """A dotted line across the panels, behind all marks, named below it in the first panel."""
    for axes in panels:
        axes.axhline(level, color="grey", lw=0.8, ls=":", zorder=0)
    panels[0].annotate(
        name, (1 if side == "right" else 0.01, level), xycoords=("axes fraction", "data"),
        xytext=(0, -2.5), ha=side, va="top", textcoords="offset points", fontsize=7, color="grey",
        path_effects=[withStroke(linewidth=1.5, foreground="white")], zorder=0.5,
    )  # fmt: skip
