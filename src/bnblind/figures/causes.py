"""Figure and table of what does the harm: forward passes, each with several backward passes."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bnblind.figures.naming import batch_title, interval_text, rows_in_order, where, with_labels
from bnblind.figures.outcomes import draw_interval, outcomes, pure_first
from bnblind.figures.panels import (
    accuracy_axes,
    grouped_places,
    name_fills,
    name_groups,
    panel_grid,
    title_columns,
)
from bnblind.figures.style import LOOKS

PASSES = {
    "none": ("identity", "passes"),
    "identity_blocked": ("identity", "BN's"),
    "identity_blocked_scaled": ("identity", "BN's, with 1 / sigma"),
    "identity_zeroed": ("identity", "zero"),
    "bn_detached": ("BN", "passes"),
    "bn": ("BN", "BN's"),
    "bn_zeroed": ("BN", "zero"),
    "bn_ema": ("running averages", "passes"),
    "bn_renorm": ("running averages", "BN's"),
}
"""Forward and backward pass of each norm, in the order in which they are shown."""
ALIKE = {"passes": "none", "zero": "bn_affine"}
"""Backward passes, and the norms whose colours they have; all others have BN's."""


def _color(norm: str) -> str:
    return LOOKS[ALIKE.get(PASSES[norm][1], "bn")].color


def causal_figure(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Test accuracy of every forward and backward pass; a panel for each batching; ``results`` are
    of one network, with a column weight_decay. A run that diverged counts as chance.
    """
    drawn = outcomes(results, 1 / classes)
    norms = [norm for norm in PASSES if norm in set(drawn["norm"])]
    decays = sorted(drawn["weight_decay"].unique(), reverse=True)
    places = grouped_places([(f"forward: {PASSES[norm][0]}", norm) for norm in norms])
    batchings = pure_first(drawn)
    height = 0.9 + 0.27 * max(places.values())
    figure, panels = panel_grid(1, len(batchings), height, sharey=True, sharex=True)
    for axes, batching in zip(panels[0], batchings, strict=True):
        for number, decay in enumerate(decays):
            for (_, norm), place in places.items():
                own = where(drawn, batching=batching, norm=norm, weight_decay=decay)
                marks: dict[str, Any] = {"color": _color(norm), "marker": "Do"[number == 0]}
                face = None if number == 0 else "white"
                at = place + (number - (len(decays) - 1) / 2) * 0.4
                marks |= {"mfc": face or marks["color"]}
                draw_interval(axes, own, at, 0.16, **marks)
    accuracy_axes(panels[0], classes)
    first = panels[0][0]
    name_groups(first, places, lambda norm: f"gradient: {PASSES[norm][1]}")
    for label, norm in zip(first.get_yticklabels(), norms, strict=True):
        label.set_color(_color(norm))
    title_columns(panels, [batch_title(b).replace(", ", ",\n") for b in batchings])
    name_fills(figure, [f"weight decay {decay:g}" for decay in decays], markers="oD")
    return figure, drawn


def _feature(results: pd.DataFrame, metric: str, when: str, keys: list[str]) -> pd.Series:
    """Mean over the seeds, ``before`` or ``after`` training, which a run that diverged has not."""
    rows = results[results["metric"] == metric]
    rows = rows[rows["epoch"] == (0 if when == "before" else rows["epoch"].max())]
    return rows.groupby(keys)["value"].mean()


def causes_table(results: pd.DataFrame, classes: int) -> pd.DataFrame:
    """The same as numbers, with what is blocked and what becomes of the features before the norm:
    one row for each norm, batching and weight decay; how many diverged, if any did.
    """
    keys = ["batching", "weight_decay", "norm"]
    ended = outcomes(results, 1 / classes).groupby(keys)
    columns = {
        "test accuracy": ended["value"].agg(interval_text),
        "diverged": ended["diverged"].sum(),
        "blocked before": _feature(results, "blocked", "before", keys),
        "blocked after": _feature(results, "blocked", "after", keys),
        "between / within before": _feature(results, "features.between_within", "before", keys),
        "between / within after": _feature(results, "features.between_within", "after", keys),
        "squared mean / variance after": _feature(results, "features.squared_mean", "after", keys)
        / _feature(results, "features.variance", "after", keys),
    }
    table = pd.DataFrame(columns).reset_index()
    if not table["diverged"].any():
        del table["diverged"]
    decays = sorted(table["weight_decay"].unique(), reverse=True)
    orders = {"batching": pure_first(table), "weight_decay": decays, "norm": PASSES}
    table = rows_in_order(table, orders)
    passes = pd.DataFrame([PASSES[norm] for norm in table["norm"]], columns=["forward", "backward"])
    return with_labels(pd.concat([passes, table.drop(columns="norm")], axis=1))
