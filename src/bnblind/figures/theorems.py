"""Figures of the theorem check."""

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnblind.figures.style import COLUMN, LOOKS

FLOOR = 1e-18
"""An exact zero is drawn as this."""

LOSS_LABELS = {"linear": "linear", "quadratic": "quadratic", "softmax_mlp": "softmax + MLP"}
TERM_LABELS = {
    "first": "first order",
    "diag": "diagonal",
    "offdiag": "off-diagonal",
    "remainder": "remainder",
}


def _in_order(found: pd.Series, order: dict[str, str]) -> list[str]:
    """The names found: those with a label first, in its order."""
    present = set(found)
    return [*(name for name in order if name in present), *sorted(present - set(order))]


def _as_text(share: float) -> str:
    return f"{share:.2f}" if share >= 0.005 else f"{share:.0e}".replace("e-0", "e-")


def _head_losses(axes: Axes, losses: list[str]) -> None:
    """Name the loss over its columns, and part it from the next."""
    for loss in dict.fromkeys(losses):
        first, count = losses.index(loss), losses.count(loss)
        label = LOSS_LABELS.get(loss, loss)
        axes.text(first + count / 2, -0.15, label, ha="center", va="bottom", fontsize=7)
        axes.axvline(first, color="white", lw=4)


def passing_heat_map(passing: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How much of each Taylor term's gradient passes each norm, one panel an eps.

    Args:
        passing: columns norm, loss, term, eps, passing; a cell shows the median of its rows.
    """
    labels = {name: look.label for name, look in LOOKS.items()}
    keys = ["eps", "norm", "loss", "term"]
    drawn = passing.groupby(keys, sort=True)["passing"].agg(["median", "min", "max"]).reset_index()
    columns = [
        (loss, term)
        for loss in _in_order(drawn["loss"], LOSS_LABELS)
        for term in _in_order(drawn.loc[drawn["loss"] == loss, "term"], TERM_LABELS)
    ]
    norms = _in_order(drawn["norm"], labels)
    eps_values = sorted(drawn["eps"].unique())
    size = (2 * COLUMN, 1.3 + 0.2 * len(norms))
    figure, panels = plt.subplots(1, len(eps_values), figsize=size, sharey=True, squeeze=False)
    for axes, eps in zip(panels[0], eps_values, strict=True):
        rows = drawn[drawn["eps"] == eps]
        table = rows.pivot(index="norm", columns=["loss", "term"], values="median")
        table = table.loc[norms, columns]
        seaborn.heatmap(
            np.log10(table.clip(lower=FLOOR)),
            ax=axes,
            vmin=-16,
            vmax=0,
            cmap="cividis",
            annot=table.map(_as_text),
            fmt="",
            annot_kws={"size": 5},
            linewidths=0.5,
            cbar=False,
        )
        axes.set_xticklabels([TERM_LABELS[term] for _, term in columns], rotation=50, ha="right")
        axes.set_yticklabels([labels[norm] for norm in norms], rotation=0)
        axes.set(xlabel="", ylabel="")
        axes.set_title(f"eps = {eps:g}", pad=18)
        axes.tick_params(length=0, pad=2)
        _head_losses(axes, [loss for loss, _ in columns])
    figure.colorbar(
        panels[0][0].collections[0],
        ax=list(panels[0]),
        label="share that passes",
        ticks=[-16, -12, -8, -4, 0],
        format=lambda power, _: f"$10^{{{power:.0f}}}$",
        aspect=25,
        pad=0.02,
    )
    return figure, drawn


def leak_curve(leak: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """T2's leak against the channel's standard deviation: measured points, stated curves.

    Args:
        leak: columns eps, std, measured, stated; one row a channel.
    """
    figure, axes = plt.subplots(figsize=(COLUMN, 0.75 * COLUMN))
    shades = dict(zip(sorted(leak["eps"].unique()), ("-", "--", ":", "-."), strict=False))
    for eps, line in shades.items():
        rows = leak[leak["eps"] == eps].sort_values("std")
        std = np.geomspace(rows["std"].min(), rows["std"].max(), 200)
        axes.plot(std, eps / (std**2 + eps), color="black", linestyle=line, label=f"eps = {eps:g}")
    axes.plot(
        leak["std"],
        leak["measured"],
        linestyle="",
        marker="o",
        markersize=3,
        color=LOOKS["bn"].color,
        label="measured",
        zorder=3,
    )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="standard deviation of the channel (feature units)",
        ylabel="share of the diagonal term's\ngradient that passes BN",
    )
    axes.legend(title="stated: eps / (var + eps)", title_fontsize=7)
    return figure, leak
