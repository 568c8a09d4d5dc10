"""Figure and table of the learning-rate ablation."""

import pandas as pd
from matplotlib.figure import Figure

from bnblind.figures.classification import titles
from bnblind.figures.naming import (
    batch_title,
    batchings_in,
    interval_text,
    networks_in,
    norms_in,
    rows_in_order,
    where,
    with_labels,
)
from bnblind.figures.outcomes import outcomes
from bnblind.figures.panels import draw_against, legend_below, mark_level, panel_grid, title_columns
from bnblind.figures.style import COLUMN, LOOKS


def accuracy_by_rate(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Final test accuracy in evaluation mode against the learning rate: a panel for each network
    and batching; ``results`` are of one data set. A run that diverged counts as chance.
    """
    drawn = outcomes(results, 1 / classes)
    networks, tables = zip(*networks_in(drawn, but="lr"), strict=True)
    cases = {
        f"{name},\n{batch_title(batching)}".replace(", ", ",\n"): where(runs, batching=batching)
        for name, runs in zip(titles(networks), tables, strict=True)
        for batching in batchings_in(runs)
    }
    width = min(2 * COLUMN, 0.6 + 1.6 * len(cases))
    figure, panels = panel_grid(1, len(cases), 0.85 * COLUMN, width, sharey=True)
    title_columns(panels, cases)
    for axes, own in zip(panels[0], cases.values(), strict=True):
        draw_against(axes, own, "lr")
        rates = sorted(own["lr"].unique())
        axes.set(xscale="log", ylim=(0, 1.03), xlabel="learning rate")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates], rotation=90)
        axes.minorticks_off()
    mark_level(panels[0], 1 / classes, "chance", "left")
    panels[0][0].set_ylabel("test accuracy")
    legend_below(figure, panels[0][0])
    return figure, drawn


def rate_table(results: pd.DataFrame, classes: int) -> pd.DataFrame:
    """The same as numbers, of one network: one row per (batching, rate)."""
    drawn = outcomes(results, 1 / classes)
    cells = drawn.groupby(["batching", "lr", "norm"])
    lost = cells["diverged"].sum().map(lambda count: f", {count} diverged" if count else "")
    text = (cells["value"].agg(interval_text, digits=".2f") + lost).unstack("norm")
    table = text[norms_in(drawn)].rename(columns=lambda norm: LOOKS[norm].label).reset_index()
    orders = {"batching": batchings_in(drawn), "lr": sorted(drawn["lr"].unique())}
    table = rows_in_order(table, orders)
    table["lr"] = table["lr"].map("{:g}".format)
    return with_labels(table).rename_axis(None, axis=1)
