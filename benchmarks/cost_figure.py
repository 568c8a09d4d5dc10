"""Cost of the split and of its peers against the number of features D, and their errors."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnblind.figures.style import COLUMN, use_style

use_style()

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

if TYPE_CHECKING:
    from growth import Costs


@dataclass(frozen=True)
class Look:
    """How one way is drawn; ``line`` "" draws markers only."""

    label: str
    color: str
    marker: str
    line: str = "-"
    width: float = 1.2
    hollow: bool = False


# Okabe & Ito's palette, distinguishable under the common kinds of colour blindness.
LOOKS = {
    "dense": Look("dense Hessian (torch.func)", "#0072B2", "^"),
    "assembled": Look("all terms, BackPACK and\ndouble backward, n = 128", "#009E73", "s"),
    "split": Look("all terms, split_head,\nn = 128", "#D55E00", "o", width=2.2),
    "plain": Look("forward + backward, n = 128", "#000000", "D"),
    "curvlinops XDiag": Look("XDiag, 20 products", "#CC79A7", "v"),
    "curvlinops Hutchinson": Look("Hutchinson, 20 products", "#E69F00", ">"),
    "split one": Look("split_head, n = 1", "#D55E00", "o", "--", hollow=True),
    "BackPACK DiagHessian": Look("BackPACK DiagHessian", "#009E73", "s", "--", hollow=True),
    "BackPACK DiagGGNExact": Look("BackPACK DiagGGNExact", "#56B4E9", "x", ":"),
}


def draw(costs: "Costs", stem: Path) -> None:
    """Write the figure as SVG and PNG."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(2 * COLUMN, 3.6), width_ratios=(1.25, 1), sharex=True
    )
    _draw_times(left, costs)
    _draw_errors(right, costs)
    for axes, letter in ((left, "a"), (right, "b")):
        axes.set_xlabel("features D")
        axes.set_title(letter, loc="left", fontweight="bold")
    for suffix in ("svg", "png"):
        metadata = {"Date": None} if suffix == "svg" else None
        figure.savefig(stem.with_suffix(f".{suffix}"), metadata=metadata)
    plt.close(figure)


def _line(axes: Axes, look: Look, xs: list[int], ys: list[float]) -> None:
    axes.plot(
        xs,
        ys,
        look.line,
        color=look.color,
        marker=look.marker,
        linewidth=look.width,
        markerfacecolor="white" if look.hollow else look.color,
    )


def _series(costs: "Costs", name: str, *, extrapolated: bool = False) -> list[tuple[int, float]]:
    return [
        (D, cost.spread.median)
        for (D, which), cost in sorted(costs.items())
        if which == name and cost.extrapolated == extrapolated
    ]


def _draw_times(axes: Axes, costs: "Costs") -> None:
    ends = {}
    for name, look in LOOKS.items():
        measured, guessed = _series(costs, name), _series(costs, name, extrapolated=True)
        _line(axes, look, *map(list, zip(*measured, strict=True)))
        if guessed:
            xs, ys = map(list, zip(measured[-1], *guessed, strict=True))
            axes.plot(xs, ys, ":", color=look.color)
            axes.plot(xs[1:], ys[1:], look.marker, color=look.color, markerfacecolor="white")
        ends[name] = (guessed or measured)[-1][1]
    axes.set(xscale="log", yscale="log", ylabel="time on one thread (s)")
    _label_ends(axes, ends)
    _slope_mark(axes, (300, 2e-1), 2)
    _slope_mark(axes, (300, 4e-3), 1)


def _label_ends(axes: Axes, ends: dict[str, float]) -> None:
    """Name each line behind its last point; labels keep a distance from each other."""
    low, high = (math.log10(limit) for limit in axes.get_ylim())
    place = high
    for name in sorted(ends, key=ends.__getitem__, reverse=True):
        look = LOOKS[name]
        lines = look.label.count("\n") + 1
        half = 0.5 * lines * LINE * (high - low)
        place = min(place, math.log10(ends[name]) + half)
        axes.annotate(
            look.label,
            (SIZES[-1], ends[name]),
            xytext=(1.06, (place - half - low) / (high - low)),
            textcoords="axes fraction",
            color=look.color,
            va="center",
            fontsize=7,
            linespacing=1.0,
            arrowprops={"arrowstyle": "-", "color": look.color, "linewidth": 0.5, "shrinkB": 3},
            annotation_clip=False,
        )
        place -= 2 * half + 0.01 * (high - low)


def _slope_mark(axes: Axes, start: tuple[float, float], power: int) -> None:
    """A short grey line that grows as a power of D."""
    x, y = start
    axes.plot([x, 4 * x], [y, y * 4**power], color="0.6", linewidth=0.8)
    axes.text(2 * x, 1.15 * y * 2**power, f"~ D{'²' if power == 2 else ''}", ha="right",
              va="bottom", fontsize=7, color="0.4")


def _draw_errors(axes: Axes, costs: "Costs") -> None: ...
