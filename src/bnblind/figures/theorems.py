"""Figures of the theorem check."""

from itertools import cycle

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnblind.figures.naming import in_order, norms_in
from bnblind.figures.style import COLUMN, FLOOR, LOOKS, TERM_LABELS

LOSS_LABELS = {
    "linear": "linear",
    "quadratic": "quadratic",
    "mse": "MSE",
    "huber": "Huber",
    "logistic": "logistic",
    "gaussian_nll": "Gaussian NLL",
    "softmax_relu": "softmax, ReLU",
    "softmax_gelu": "softmax, GELU",
}
THEOREM_OF = {"first": "T1", "diag": "T2", "offdiag": "T3", "total": "T4"}
POINT_LABELS = {"zero": "y0 = 0", "mean": "y0 = batch mean", "random": "y0 random"}


def _as_text(share: float) -> str:
    if share >= 0.005:
        return f"{share:.2f}"
    return f"$10^{{{round(np.log10(max(share, FLOOR)))}}}$"


def _term_label(term: str) -> str:
    theorem = f" ({THEOREM_OF[term]})" if term in THEOREM_OF else ""
    return f"{TERM_LABELS[term]}{theorem}"


def _name_groups(axes: Axes, groups: list[str], labels: dict[str, str]) -> None:
    """Name each group beside its rows, and part it from the next."""
    for group in dict.fromkeys(groups):
        first, count = groups.index(group), groups.count(group)
        axes.annotate(
            labels.get(group, group), (0, first + count / 2), xycoords=axes.get_yaxis_transform(),
            xytext=(-68, 0), textcoords="offset points", ha="right", va="center",
        )  # fmt: skip
        axes.axhline(first, color="white", lw=4)


def _draw_shares(axes: Axes, table: pd.DataFrame, groups: dict[str, str], *, named: bool) -> None:
    """A heat map: rows (group, term), columns norms; ``named``: with the rows' names."""
    terms = [_term_label(term) for term in table.index.get_level_values(1)]
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
        xticklabels=[LOOKS[norm].label for norm in table.columns],
        yticklabels=terms if named else False,
    )
    axes.tick_params(length=0, pad=2)
    axes.set_xticklabels(axes.get_xticklabels(), rotation=50, ha="right", rotation_mode="anchor")
    axes.set(xlabel="", ylabel="")
    if named:
        _name_groups(axes, list(table.index.get_level_values(0)), groups)


def _colour_bar(figure: Figure, panels: list[Axes]) -> None:
    figure.colorbar(
        panels[0].collections[0],
        ax=panels,
        label="share that passes",
        ticks=[-16, -12, -8, -4, 0],
        format=lambda power, _: f"$10^{{{power:.0f}}}$",
        aspect=40,
        pad=0.02,
    )


def _pivoted(drawn: pd.DataFrame, group: str, labels: dict[str, str]) -> pd.DataFrame:
    """Rows (group, term), columns norms, both in the order of their labels."""
    table = drawn.pivot(index=[group, "term"], columns="norm", values="median")
    rows = []
    for name in in_order(drawn[group], labels):
        terms = in_order(drawn.loc[drawn[group] == name, "term"], TERM_LABELS)
        # A loss's only term is the whole.
        rows += [(name, term) for term in terms if term != "total" or len(terms) > 2]
    return table.loc[rows][norms_in(drawn)]


def passing_heat_map(passing: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How much of each term's and of the whole gradient passes each norm at y0 = 0, by eps.

    Args:
        passing: columns norm, loss, y0, term, eps, passing; a cell shows the median of its rows.
    """
    keys = ["y0", "eps", "norm", "loss", "term"]
    rows = passing[passing["y0"] == "zero"].groupby(keys, sort=True)["passing"]
    drawn = rows.agg(["median", "min", "max"]).reset_index()
    eps_values = sorted(drawn["eps"].unique())
    tables = [_pivoted(drawn[drawn["eps"] == eps], "loss", LOSS_LABELS) for eps in eps_values]
    size = (2 * COLUMN, 1.6 + 0.125 * len(tables[0]))
    figure, panels = plt.subplots(1, len(eps_values), figsize=size, squeeze=False)
    for i, (axes, eps) in enumerate(zip(panels[0], eps_values, strict=True)):
        _draw_shares(axes, tables[i], LOSS_LABELS, named=i == 0)
        axes.set_title(f"eps = {eps:g}")
    _colour_bar(figure, list(panels[0]))
    return figure, drawn


def passing_by_point(passing: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The same of ``passing`` at eps = 0 for each expansion point, median over the losses."""
    keys = ["norm", "y0", "term"]
    rows = passing[passing["eps"] == passing["eps"].min()].groupby(keys, sort=True)["passing"]
    drawn = rows.agg(["median", "min", "max"]).reset_index()
    table = _pivoted(drawn, "y0", POINT_LABELS)
    figure, axes = plt.subplots(figsize=(1.4 * COLUMN, 1.6 + 0.125 * len(table)))
    _draw_shares(axes, table, POINT_LABELS, named=True)
    _colour_bar(figure, [axes])
    return figure, drawn


def closed_forms(errors: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How far autograd's gradient is from each theorem's closed form, a point per case; ``errors``
    has the columns theorem and error.
    """
    figure, axes = plt.subplots(figsize=(1.2 * COLUMN, 0.5 * COLUMN))
    names = sorted(errors["theorem"].unique())
    for place, name in enumerate(names):
        own = np.sort(errors.loc[errors["theorem"] == name, "error"].clip(lower=FLOOR))
        spread = place + np.linspace(-0.3, 0.3, len(own))
        axes.plot(own, spread, **LOOKS["bn"].points | {"ms": 1.5, "alpha": 0.5, "marker": "."})
    axes.set(xscale="log", xlim=(FLOOR, 1e-10), yticks=range(len(names)), yticklabels=names)
    axes.set_xlabel("largest deviation, share of the largest entry of G / sigma")
    axes.invert_yaxis()
    return figure, errors


def random_hessians(shares: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What passes BN of the second-order terms of uncorrelated random Hessians: mean and range over
    the seeds, for every batch size n and dimension D, and what T3 states for independent features.

    Args:
        shares: columns features, batch_size, dim, seed, term, passing, independent.
    """
    sizes = sorted({*zip(shares["batch_size"], shares["dim"], strict=True)})
    figure, panels = plt.subplots(1, 2, figsize=(2 * COLUMN, 1.1 + 0.3 * len(sizes)), sharey=True)
    for axes, term in zip(panels, ("offdiag", "second"), strict=True):
        for features, face, shift in (
            ("independent", "black", -0.14),
            ("correlated", "white", 0.14),
        ):
            own = shares[(shares["term"] == term) & (shares["features"] == features)]
            by_size = own.groupby(["batch_size", "dim"])["passing"].agg(["mean", "min", "max"])
            places = [sizes.index(size) + shift for size in by_size.index]
            axes.hlines(places, by_size["min"], by_size["max"], color="black", lw=1)
            axes.plot(
                by_size["mean"], places, "o", color="black", mfc=face, label=f"{features} features"
            )
        stated = (
            shares[shares["term"] == term].groupby(["batch_size", "dim"])["independent"].first()
        )
        places = [sizes.index(size) - 0.14 for size in stated.index]
        axes.plot(
            stated, places, "|", color="#D55E00", ms=12, mew=1.5, label="expected, independent"
        )
        axes.set(
            xlim=(0, 1.02),
            title=TERM_LABELS[term],
            xlabel="share of the squared gradient that passes",
        )
    panels[0].set_yticks(range(len(sizes)), [f"n = {n}, D = {dim}" for n, dim in sizes])
    panels[0].set_ylim(len(sizes) - 0.5, -0.5)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure, shares


def leak_curve(leak: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """T2's leak against the channel's standard deviation: measured points, stated curves; ``leak``
    has the columns eps, std, measured and stated, one row per channel.
    """
    figure, axes = plt.subplots(figsize=(COLUMN, 0.75 * COLUMN))
    shades = dict(zip(sorted(leak["eps"].unique()), cycle(("-", "--", ":", "-.")), strict=False))
    for eps, line in shades.items():
        rows = leak[leak["eps"] == eps].sort_values("std")
        std = np.geomspace(rows["std"].min(), rows["std"].max(), 200)
        axes.plot(std, eps / (std**2 + eps), color="black", linestyle=line, label=f"eps = {eps:g}")
    points = LOOKS["bn"].points | {"marker": "o", "ms": 3, "zorder": 3}
    axes.plot(leak["std"], leak["measured"], **points, label="measured")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="standard deviation of the channel (feature units)",
        ylabel="share of the diagonal term's\ngradient that passes BN",
    )
    axes.legend(title="stated: eps / (var + eps)", title_fontsize=7)
    return figure, leak
