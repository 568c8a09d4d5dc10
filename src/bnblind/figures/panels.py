"""Parts that several figures have: panels, seeds, intervals, levels, legends."""

from collections.abc import Callable, Iterable, Sequence
from math import inf, log10, nan
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import offset_copy

from bnblind.experiments.intervals import t_interval
from bnblind.figures.naming import norms_in, where
from bnblind.figures.style import COLUMN, LOOKS
from bnblind.figures.typesetting import typeset
from bnblind.probe_figures import SHARES


def panel_grid(
    rows: int, columns: int, height: float, width: float = 2 * COLUMN, **shared: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of that size in inches, and its panels, (rows, columns)."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **shared)


LEVEL: dict[str, Any] = {"color": "grey", "lw": 0.8, "ls": ":", "zorder": 0}
"""The look of a line at the level of chance."""
SEED: dict[str, Any] = {"ms": 2.2, "alpha": 0.6, "ls": "", "label": None}
"""The look of a mark that is one seed's."""


def log_scale(axes: Axes, name: str) -> None:
    """Make an axis, ``x`` or ``y``, logarithmic; its labels are text, which formulas are not."""
    axes.set(**{f"{name}scale": "log"})
    axis = getattr(axes, f"{name}axis")
    axis.set_major_formatter(lambda value, _: typeset(f"1e{round(log10(value)):+d}"))
    axis.set_minor_formatter(NullFormatter())


def jitter(count: int) -> list[float]:
    """By how much the marks of so many seeds are moved apart, from -1/2 to 1/2; always the same."""
    return [number * 0.618034 % 1 - 0.5 for number in range(count)]


def grouped_places(rows: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Heights of the rows, each a group's and its own name, a gap before each group."""
    places, height, before = {}, 0.0, ""
    for group, name in rows:
        height += 1 if group == before else 1.9
        places[group, name], before = height, group
    return places


def name_groups(
    axes: Axes, places: dict[tuple[str, str], float], label: Callable[[str], str] = str
) -> None:
    """The rows' names at the y axis, which starts at the top, and in the gaps the groups'."""
    axes.set_yticks([*places.values()], [label(name) for _, name in places])
    axes.tick_params(axis="y", length=0)
    for group in dict.fromkeys(group for group, _ in places):
        top = min(place for (own, _), place in places.items() if own == group)
        axes.annotate(
            group, (0, top - 0.72), (-7, 0), ha="right", va="center", weight="bold", fontsize=7.5,
            xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        )  # fmt: skip
    axes.set_ylim(max(places.values()) + 0.7, 0.7)


def title_columns(panels: np.ndarray, titles: Iterable[str]) -> None:
    """Name the columns of ``panels`` above the first row."""
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title)


def name_row(row: np.ndarray, name: str) -> None:
    """Hide the panels in which nothing is drawn, and name the row at the first one that is left."""
    for axes in row:
        axes.set_visible(bool(axes.lines))
    first = next(axes for axes in row if axes.get_visible())
    first.set_ylabel(name)
    first.tick_params(labelleft=True)


def intervals(rows: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Mean over the seeds and its t interval, none of a single seed, for each value of ``setting``:
    columns mean, low, high; ``rows`` has columns value and ``setting``, one row per seed.
    """
    found = {key: t_interval([*values]) for key, values in rows.groupby(setting)["value"]}
    columns = ["mean", "low", "high"]
    table = pd.DataFrame.from_dict(found, orient="index", columns=columns, dtype="float64")
    return table.replace([-inf, inf], nan)


def draw_band(
    axes: Axes, rows: pd.DataFrame, setting: str, floor: float = 0.0, **look: Any
) -> None:
    """A line through the means over the seeds, and their t intervals as a band around it; what is
    smaller than ``floor`` is drawn there. Arguments as of :func:`intervals`.
    """
    band = intervals(rows, setting).clip(lower=floor)
    axes.plot(band.index, band["mean"], **look)
    axes.fill_between(band.index, band["low"], band["high"], color=look["color"], alpha=0.2, lw=0)


def draw_seeds(axes: Axes, rows: pd.DataFrame, setting: str, **look: Any) -> None:
    """A small mark for each seed, a cross where its run ``diverged``."""
    seeds = rows.groupby("seed")
    for shift, (_, run) in zip(jitter(len(seeds)), seeds, strict=True):
        moved = offset_copy(axes.transData, axes.get_figure(root=True), 5 * shift, units="points")
        axes.plot(run[setting], run["value"], **look | SEED, transform=moved)
        if "diverged" in run:
            lost = run[run["diverged"]]
            cross = look | SEED | {"marker": "x", "ms": 4}
            axes.plot(lost[setting], lost["value"], **cross, transform=moved)


def draw_against(axes: Axes, rows: pd.DataFrame, setting: str) -> None:
    """For each norm the seeds, their mean and its interval; ``rows`` as of :func:`intervals`."""
    for norm in norms_in(rows):
        look, own = LOOKS[norm], where(rows, norm=norm)
        draw_band(axes, own, setting, **look.line)
        draw_seeds(axes, own, setting, **look.points)


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


def name_fills(figure: Figure, labels: Iterable[str], *more: Line2D, markers: str = "oo") -> None:
    """Below all panels: what full marks stand for, what hollow ones, and ``more``."""
    handles = [
        Line2D([], [], color="black", ls="", marker=marker, mfc=face, label=label)
        for marker, face, label in zip(markers, ("black", "white"), labels, strict=False)
    ]
    figure.legend(handles=[*handles, *more], loc="outside lower center", ncols=4)


def legend_below(figure: Figure, axes: Axes, columns: int | None = None) -> None:
    """What is drawn in ``axes``, named below all panels, in one line if not in ``columns``."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=columns or len(names))


def accuracy_axes(panels: Sequence[Axes], classes: int) -> None:
    """Test accuracy along x, and a line at chance, which the first panel names at its top."""
    for axes in panels:
        axes.axvline(1 / classes, **LEVEL)
        axes.set(xlim=(0, 1.02), xlabel="test accuracy")
        axes.grid(axis="x", color="#EEEEEE", lw=0.6)
        axes.set_axisbelow(True)
    panels[0].annotate(
        "chance", (1 / classes, 1), xycoords=("data", "axes fraction"), xytext=(2, 0),
        textcoords="offset points", va="top", fontsize=7, color="grey",
    )  # fmt: skip


def mark_level(panels: Sequence[Axes], level: float, name: str, side: str = "right") -> None:
    """A dotted line across the panels, behind all marks, named below it in the first panel."""
    for axes in panels:
        axes.axhline(level, **LEVEL)
    panels[0].annotate(
        name, (1 if side == "right" else 0.01, level), xycoords=("axes fraction", "data"),
        xytext=(0, -2.5), ha=side, va="top", textcoords="offset points", fontsize=7, color="grey",
        path_effects=[withStroke(linewidth=1.5, foreground="white")], zorder=0.5,
    )  # fmt: skip
