"""Cost of the split and of its peers against the number of features D."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnblind.figures.style import COLUMN, use_style

use_style()

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

if TYPE_CHECKING:
    from growth import Cost, Costs

SIZE_OF_ERRORS = 4096
LIMITS = (4e-4, 3e1)
LINE = 0.045
"""Height of a line of a label, as a share of the axis."""


@dataclass(frozen=True)
class Look:
    """How one way is drawn and called."""

    label: str
    color: str
    marker: str
    line: str = "-"
    width: float = 1.2


# Okabe & Ito's palette, distinguishable under the common kinds of colour blindness.
BATCH = {
    "assembled": Look("BackPACK and\ndouble backward", "#009E73", "s"),
    "split": Look("split_head", "#D55E00", "o", width=2.2),
    "plain": Look("one plain forward\nand backward pass", "#000000", "D", "--"),
    "gradient": Look("gradient with respect\nto y only", "#999999", "P", "--"),
}
ONE_SAMPLE = {
    "dense": Look("torch.func.hessian", "#0072B2", "^"),
    "curvlinops XDiag": Look("curvlinops XDiag", "#CC79A7", "v"),
    "split one": Look("split_head, n = 1", "#D55E00", "o", width=2.2),
    "curvlinops Hutchinson": Look("curvlinops Hutchinson", "#E69F00", ">"),
    "BackPACK DiagHessian": Look("BackPACK DiagHessian", "#009E73", "s"),
    "BackPACK DiagGGNExact": Look("BackPACK DiagGGNExact", "#56B4E9", "x", ":"),
}


def draw(costs: "Costs", stem: Path) -> None:
    """Write the figure as SVG and PNG."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(2 * COLUMN, 3.1), sharex=True, sharey=True)
    left.set(xscale="log", yscale="log", ylim=LIMITS, ylabel="time on one thread (s)")
    _draw(left, costs, BATCH)
    _draw(right, costs, ONE_SAMPLE, errors=True)
    _slope_mark(left, (400, 6e-2), 1)
    _slope_mark(right, (300, 1e-1), 2)
    _slope_mark(right, (1500, 6e-4), 1, "left")
    right.text(6000, 4e0, "extrapolated", ha="right", fontsize=7, color="#0072B2")
    right.text(
        *(1.12, 0.0),
        f"error: relative, of the\ndiagonal, at D = {SIZE_OF_ERRORS}",
        transform=right.transAxes,
        fontsize=7,
        color="0.4",
    )
    left.set_title("a   all terms, 128 samples", loc="left")
    right.set_title("b   Hessian's diagonal only, 1 sample", loc="left")
    for axes in (left, right):
        axes.set_xlabel("features D")
    for suffix in ("svg", "png"):
        metadata = {"Date": None} if suffix == "svg" else None
        figure.savefig(stem.with_suffix(f".{suffix}"), metadata=metadata)
    plt.close(figure)


def _draw(axes: Axes, costs: "Costs", looks: Mapping[str, Look], *, errors: bool = False) -> None:
    ends = []
    for name, look in looks.items():
        points = {D: cost for (D, which), cost in sorted(costs.items()) if which == name}
        measured = {D: cost for D, cost in points.items() if not cost.extrapolated}
        axes.plot(
            *_line(measured), look.line, color=look.color, marker=look.marker, linewidth=look.width
        )
        guessed = {D: cost for D, cost in points.items() if D >= max(measured)}
        axes.plot(*_line(guessed), ":", color=look.color)
        for D in guessed:
            if D not in measured:
                axes.plot(
                    *_line({D: points[D]}), look.marker, color=look.color, markerfacecolor="white"
                )
        label = look.label
        if errors:
            label += f"\nerror {_rounded(costs[SIZE_OF_ERRORS, name].error)}"
        ends.append((max(points), points[max(points)].spread.median, label, look.color))
    _label(axes, ends)


def _line(points: Mapping[int, "Cost"]) -> tuple[list[int], list[float]]:
    return list(points), [cost.spread.median for cost in points.values()]


def _rounded(error: float) -> str:
    if error >= 0.1:
        return f"{error:.1f}"
    power = math.floor(math.log10(error))
    return f"${error / 10**power:.0f}\\times10^{{{power}}}$"


def _label(axes: Axes, ends: list[tuple[int, float, str, str]]) -> None:
    """Name each line at its end; labels push each other away until none overlap."""
    low, high = (math.log10(limit) for limit in LIMITS)
    ends = sorted(ends, key=lambda end: end[1])
    places = [(math.log10(y) - low) / (high - low) for _, y, _, _ in ends]
    heights = [LINE * (label.count("\n") + 1) + 0.02 for _, _, label, _ in ends]
    for _ in range(1000):
        places[0] = max(places[0], heights[0] / 2)
        for i in range(len(ends) - 1):
            overlap = (heights[i] + heights[i + 1]) / 2 - (places[i + 1] - places[i])
            if overlap > 0:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
    for (x, y, label, color), place in zip(ends, places, strict=True):
        axes.annotate(
            label,
            (x, y),
            xytext=(1.12, place),
            textcoords="axes fraction",
            color=color,
            va="center",
            fontsize=7,
            linespacing=1.1,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def _slope_mark(axes: Axes, start: tuple[float, float], power: int, side: str = "right") -> None:
    """A short grey line that grows as a power of D."""
    x, y = start
    axes.plot([x, 4 * x], [y, y * 4**power], color="0.6", linewidth=0.8)
    axes.text(
        (1.8 if side == "right" else 2.3) * x,
        y * 2**power,
        "∝ D²" if power == 2 else "∝ D",
        ha=side,
        va="bottom" if side == "right" else "top",
        fontsize=7,
        color="0.4",
    )
