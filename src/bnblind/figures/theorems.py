"""Figures of the theorem check."""

import textwrap
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from bnblind.figures.naming import in_order, norms_in, where
from bnblind.figures.outcomes import draw_interval
from bnblind.figures.panels import legend_below, log_scale, panel_grid
from bnblind.figures.style import COLUMN, FLOOR, LOOKS, TERM_COLORS, TERM_LABELS
from bnblind.figures.typesetting import typeset

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


def _term_label(term: str) -> str:
    theorem = f" ({THEOREM_OF[term]})" if term in THEOREM_OF else ""
    return f"{TERM_LABELS[term]}{theorem}"


CATEGORIES: dict[str, dict[str, Any]] = {
    "blocked": {"marker": "s", "color": "#222222"},
    "leaks": {"marker": "^", "color": "#7A5195"},
    "passes in part": {"marker": "o", "color": "#7A5195", "fillstyle": "bottom"},
    "passes": {"marker": "o", "color": "#999999", "mfc": "white"},
}
"""What becomes of a term at a norm, and its mark; no norm has these colours."""
BLOCKED, LEAKS, WHOLE = 1e-12, 1e-2, 1 - 1e-6
"""At most so much of a term's length passes where it is blocked or leaks; at least, where it
passes."""


def category(least: float, most: float) -> str:
    """Of a term of which between these shares passes over seeds, dimensions and batch sizes."""
    if most <= BLOCKED:
        return "blocked"
    if most <= LEAKS:
        return "leaks"
    return "passes" if least >= WHOLE else "passes in part"


def _part_groups(axes: Axes, groups: list[str], labels: dict[str, str], *, named: bool) -> None:
    """Part each group from the next, and name it beside its rows."""
    for group in dict.fromkeys(groups):
        first, count = groups.index(group), groups.count(group)
        if named:
            axes.annotate(
                labels.get(group, group), (0, first + (count - 1) / 2),
                xycoords=axes.get_yaxis_transform(), xytext=(-78, 0), textcoords="offset points",
                ha="right", va="center",
            )  # fmt: skip
        if first:
            axes.axhline(first - 0.5, color="#BBBBBB", lw=0.6)


def _draw_categories(
    axes: Axes, table: pd.DataFrame, groups: dict[str, str], *, named: bool
) -> None:
    """A mark for each row (group, term) and norm, a column; ``named``: with the rows' names."""
    for name, look in CATEGORIES.items():
        rows, columns = np.nonzero((table == name).to_numpy())
        axes.plot(columns, rows, ls="", ms=4.5, label=name, **look)
    terms = [_term_label(term) for term in table.index.get_level_values(1)]
    names = [LOOKS[norm].label for norm in table.columns]
    axes.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(terms)), terms if named else [])
    axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(len(terms) - 0.4, -0.6))
    axes.tick_params(length=0, pad=2)
    seaborn.despine(ax=axes, left=True, bottom=True)
    _part_groups(axes, list(table.index.get_level_values(0)), groups, named=named)


def _pivoted(drawn: pd.DataFrame, group: str, labels: dict[str, str]) -> pd.DataFrame:
    """Categories: rows (group, term), columns norms, both in the order of their labels."""
    found = drawn.assign(category=[*map(category, drawn["min"], drawn["max"])])
    table = found.pivot(index=[group, "term"], columns="norm", values="category")
    rows = []
    for name in in_order(drawn[group], labels):
        terms = in_order(drawn.loc[drawn[group] == name, "term"], TERM_LABELS)
        # A loss's only term is the whole.
        rows += [(name, term) for term in terms if term != "total" or len(terms) > 2]
    return table.loc[rows][norms_in(drawn)]


CELLS = {"blocked": "#222222", "leaks": "#7A5195", "passes in part": "#DCCFE3", "passes": "#FFFFFF"}
"""The ground of a cell of each category."""


def _share(value: float) -> str:
    return "0" if value <= BLOCKED else f"{value:.1g}" if value < LEAKS else f"{value:.2g}"


def term_categories(passing: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What becomes of each term at each norm, whatever the loss: the smallest and the largest share
    that passes; y0 = 0 and the largest eps in ``passing``, whose columns are those of
    :func:`passing_categories`.
    """
    rows = passing[(passing["y0"] == "zero") & (passing["eps"] == passing["eps"].max())]
    drawn = rows.groupby(["term", "norm"], sort=False)["passing"].agg(["min", "max"]).reset_index()
    terms, norms = in_order(drawn["term"], TERM_LABELS), norms_in(drawn)
    figure, axes = plt.subplots(figsize=(2 * COLUMN, 0.9 + 0.32 * len(terms)))
    for case in drawn.itertuples():
        found = category(case.min, case.max)
        at = norms.index(case.norm), terms.index(case.term)
        axes.add_patch(Rectangle(at, 1, 1, fc=CELLS[found], ec="#BBBBBB", lw=0.6))
        least, most = _share(case.min), _share(case.max)
        told = most if least == most or found == "blocked" else f"{least}\nto {most}"
        dark = found in ("blocked", "leaks")
        axes.text(
            at[0] + 0.5, at[1] + 0.5, f"up to\n{most}" if found == "leaks" else told,
            ha="center", va="center", fontsize=6.5, color="white" if dark else "black",
        )  # fmt: skip
    names = [textwrap.fill(LOOKS[norm].label, 11) for norm in norms]
    axes.set_xticks([place + 0.5 for place in range(len(norms))], names, fontsize=6.5)
    axes.set_yticks([place + 0.5 for place in range(len(terms))], [*map(_term_label, terms)])
    axes.set(xlim=(0, len(norms)), ylim=(len(terms), 0))
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    looks = [
        Patch(facecolor=color, edgecolor="#BBBBBB", label=name) for name, color in CELLS.items()
    ]
    figure.legend(handles=looks, loc="outside lower center", ncols=len(looks))
    return figure, drawn


def _ranges(passing: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return passing.groupby(keys)["passing"].agg(["median", "min", "max"]).reset_index()


def passing_categories(passing: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What becomes of each term and of the whole gradient at each norm, y0 = 0, by eps; ``passing``
    has the columns norm, loss, y0, term, eps and passing, and a mark stands for all rows of a norm,
    loss and term.
    """
    drawn = _ranges(where(passing, y0="zero"), ["y0", "eps", "norm", "loss", "term"])
    eps_values = sorted(drawn["eps"].unique())
    tables = [_pivoted(drawn[drawn["eps"] == eps], "loss", LOSS_LABELS) for eps in eps_values]
    figure, panels = panel_grid(1, len(eps_values), 1.5 + 0.14 * len(tables[0]))
    for i, (axes, eps) in enumerate(zip(panels[0], eps_values, strict=True)):
        _draw_categories(axes, tables[i], LOSS_LABELS, named=i == 0)
        axes.set_title(typeset(f"eps = {eps:g}"))
    legend_below(figure, panels[0][0])
    return figure, drawn


def categories_by_point(passing: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The same at eps = 0 for each expansion point, of all losses together."""
    drawn = _ranges(where(passing, eps=passing["eps"].min()), ["norm", "y0", "term"])
    table = _pivoted(drawn, "y0", POINT_LABELS)
    figure, axes = plt.subplots(figsize=(1.3 * COLUMN, 1.5 + 0.14 * len(table)))
    _draw_categories(axes, table, POINT_LABELS, named=True)
    legend_below(figure, axes)
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
    log_scale(axes, "x")
    axes.set(xlim=(FLOOR, 1e-10), yticks=range(len(names)), yticklabels=names)
    axes.set_xlabel("largest deviation, share of the largest entry of G / sigma")
    axes.invert_yaxis()
    return figure, errors


FEATURES = (("independent", "black", -0.3), ("correlated", "white", 0.15))
"""Kinds of features: what fills their marks, and how far these stand from the row's place."""


def random_hessians(shares: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What passes BN of the second-order terms of uncorrelated random Hessians, for every batch
    size n and dimension D, and what T3 states for independent features; ``shares`` has the columns
    features, batch_size, dim, seed, term, passing, independent.
    """
    sizes = sorted({*zip(shares["batch_size"], shares["dim"], strict=True)})
    figure, panels = plt.subplots(1, 2, figsize=(2 * COLUMN, 1.1 + 0.4 * len(sizes)), sharey=True)
    for axes, term in zip(panels, ("offdiag", "second"), strict=True):
        of_term = where(shares, term=term)
        for features, face, shift in FEATURES:
            own = where(of_term, features=features).rename(columns={"passing": "value"})
            marks: dict[str, Any] = {"color": "black", "marker": "o", "mfc": face}
            for place, (n, dim) in enumerate(sizes):
                marks["label"] = None if place else f"{features} features"
                draw_interval(axes, where(own, batch_size=n, dim=dim), place + shift, 0.14, **marks)
        stated = of_term.groupby(["batch_size", "dim"])["independent"].first()
        places = [sizes.index(size) - 0.3 for size in stated.index]
        look = {"color": TERM_COLORS["offdiag"], "ms": 12, "mew": 1.5}
        axes.plot(stated, places, "|", **look, label="expected, independent")
        axes.set(xlim=(0, 1.02), title=TERM_LABELS[term])
        axes.set_xlabel("share of the squared gradient that passes")
    panels[0].set_yticks(range(len(sizes)), [f"n = {n}, D = {dim}" for n, dim in sizes])
    panels[0].set_ylim(len(sizes) - 0.5, -0.5)
    legend_below(figure, panels[0], 3)
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
        label = typeset(f"eps = {eps:g}")
        axes.plot(std, eps / (std**2 + eps), color="black", linestyle=line, label=label)
    points = LOOKS["bn"].points | {"marker": "o", "ms": 3, "zorder": 3}
    axes.plot(leak["std"], leak["measured"], **points, label="measured")
    log_scale(axes, "x")
    log_scale(axes, "y")
    axes.set(
        xlabel="standard deviation of the channel (feature units)",
        ylabel="share of the diagonal term's\ngradient that passes BN",
    )
    axes.legend(title="stated: eps / (var + eps)", title_fontsize=7)
    return figure, leak
