"""Parts that several figures have: panels, seeds, levels, legends."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from bnblind.figures.naming import norms_in, where
from bnblind.figures.style import COLUMN, LOOKS
from bnblind.probe_figures import SHARES


def panel_grid(
    rows: int, columns: int, height: float, width: float = 2 * COLUMN, **shared: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of that size in inches, and its panels, (rows, columns)."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **shared)


LEVEL: dict[str, Any] = {"color": "grey", "lw": 0.8, "ls": ":", "zorder": 0}
"""The look of a line at the level of chance."""


def grouped_places(rows: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Heights of the rows, each a group's and its own name, a gap before each group."""
    places, height, before = {}, 0.0, ""
    for group, name in rows:
        height += 1 if group == before else 1.9
        places[group, name], before = height, group
    return places


def name_groups(
    axes: Axes, places: dict[tuple[str, str], float], label: Callable[[str], str]
) -> None:
    """The rows' names at the y axis, which starts at the top, and in the gaps the groups'."""
    axes.set_yticks([*places.values()], [label(name) for _, name in places])
    axes.tick_params(axis="y", length=0)
    for group in dict.fromkeys(group for group, _ in places):
        top = min(place for (own, _), place in places.items() if own == group)
        axes.text(
            0, top - 0.72, group, transform=axes.get_yaxis_transform(),
            ha="right", va="center", weight="bold", fontsize=7.5,
        )  # fmt: skip
    axes.set_ylim(max(places.values()) + 0.7, 0.7)


def title_columns(panels: np.ndarray, titles: Iterable[str]) -> None:
    """Name the columns of ``panels`` above the first row."""
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title)


def draw_band(
    axes: Axes, norm: str, rows: pd.DataFrame, setting: str, middle: str, alpha: float, **marks: Any
) -> None:
    """One norm's line through the ``middle`` of the seeds (``mean`` or ``median``), and their range
    around it; ``rows`` has columns value and ``setting``, one row per seed.
    """
    band = rows.groupby(setting)["value"].agg([middle, "min", "max"])
    axes.plot(band.index, band[middle], **LOOKS[norm].line, **marks)
    axes.fill_between(
        band.index, band["min"], band["max"], color=LOOKS[norm].color, alpha=alpha, lw=0
    )


def draw_against(axes: Axes, rows: pd.DataFrame, setting: str) -> None:
    """For each norm the seeds as points and their mean as a line.

    Args:
        rows: columns norm, value and ``setting``, one row per seed. A value that is NaN (a run that
            diverged) counts for no mean, and is a cross at the foot of the panel.
    """
    for norm in norms_in(rows):
        look, own = LOOKS[norm], where(rows, norm=norm)
        mean = own.groupby(setting)["value"].mean()
        axes.plot(mean.index, mean, **look.line)
        axes.plot(own[setting], own["value"], **look.points, markersize=2.5, alpha=0.5)
        lost = own[own["value"].isna()]
        axes.plot(lost[setting], [0.02] * len(lost), color=look.color, marker="x", linestyle="")


def draw_shares(
    axes: Axes, places: Sequence[Any], shares: pd.DataFrame, height: float, **bars: Any
) -> None:
    """One bar per place on the y axis, cut into the shares that are blocked and that pass;
    ``shares`` has the columns mean_share, scale_share and passing, one row per place.
    """
    left = np.zeros(len(shares))
    for name, (label, color) in SHARES.items():
        axes.barh(places, shares[name], left=left, color=color, label=label, height=height, **bars)
        left += shares[name].to_numpy()
    axes.set(xlim=(0, 1))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def legend_below(figure: Figure, axes: Axes) -> None:
    """What is drawn in ``axes``, named in one line below all panels."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))


def mark_level(panels: Sequence[Axes], level: float, name: str, side: str = "right") -> None:
    """A dotted line across the panels, behind all marks, named below it in the first panel."""
    for axes in panels:
        axes.axhline(level, **LEVEL)
    panels[0].annotate(
        name, (1 if side == "right" else 0.01, level), xycoords=("axes fraction", "data"),
        xytext=(0, -2.5), ha=side, va="top", textcoords="offset points", fontsize=7, color="grey",
        path_effects=[withStroke(linewidth=1.5, foreground="white")], zorder=0.5,
    )  # fmt: skip
