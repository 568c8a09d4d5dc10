"""Figure of the learning-rate ablation."""

from math import nan

import pandas as pd
from matplotlib.figure import Figure

from bnblind.figures.naming import (
    batching_title,
    batchings_in,
    norms_in,
    spread,
    where,
)
from bnblind.figures.outcomes import outcomes
from bnblind.figures.panels import (
    draw_against,
    legend_below,
    mark_level,
    panel_grid,
    title_columns,
)
from bnblind.figures.style import COLUMN, LOOKS


def final_values(results: pd.DataFrame, metric: str, settings: list[str]) -> pd.DataFrame:
    """``metric`` after each run's last epoch, one row per run; NaN for a run that diverged. With
    norm and seed, the columns ``settings`` tell the runs apart.
    """
    return outcomes(results, nan, metric, last=1)[[*settings, "norm", "seed", "value"]]


def accuracy_by_rate(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Final test accuracy in evaluation mode against the learning rate, one panel per batching.

    Args:
        results: runs of one data set and model at several rates, in long form.
        classes: of the data set, for the line at chance.
    """
    drawn = final_values(results, "test.eval.accuracy", ["batching", "lr"])
    batchings = batchings_in(drawn)
    width = min(2 * COLUMN, (0.4 + 0.8 * len(batchings)) * COLUMN)
    figure, panels = panel_grid(1, len(batchings), 0.8 * COLUMN, width, sharey=True, sharex=True)
    rates = sorted(drawn["lr"].unique())
    for axes, batching in zip(panels[0], batchings, strict=True):
        draw_against(axes, where(drawn, batching=batching), "lr")
        axes.set(xscale="log", ylim=(0, 1.03), xlabel="learning rate")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
    title_columns(panels, map(batching_title, batchings))
    mark_level(panels[0], 1 / classes, "chance", "left")
    panels[0][0].set_ylabel("final test accuracy")
    legend_below(figure, panels[0][0])
    return figure, drawn


def rate_table(results: pd.DataFrame) -> pd.DataFrame:
    """The same as numbers: mean and range over the seeds, one row per (batching, rate)."""
    drawn = final_values(results, "test.eval.accuracy", ["batching", "lr"])
    cells = drawn.groupby(["batching", "lr", "norm"])["value"]
    text = cells.agg(
        lambda values: (
            spread(values, ".2f")
            if values.notna().all()
            else f"{values.isna().sum()} of {len(values)} diverged"
        )
    )
    table = text.unstack("norm").loc[batchings_in(drawn), norms_in(drawn)]
    return (
        table.rename(columns=lambda norm: LOOKS[norm].label).reset_index().rename_axis(None, axis=1)
    )
