"""Figure and table of the norms that can take BN's place."""

import pandas as pd
from matplotlib.figure import Figure

from bnblind.figures.naming import batch_title, norms_in, rows_in_order, where
from bnblind.figures.outcomes import draw_interval, interval_text, outcomes, pure_first
from bnblind.figures.panels import panel_grid, title_columns
from bnblind.figures.style import LOOKS
from bnblind.norms import Identity, RunningAverages, norm_class


def forward_reads(name: str) -> int:
    """How often the norm's forward pass in training reads the features: once to normalize them, and
    once to take statistics of them.
    """
    norm = norm_class(name)
    if issubclass(norm, Identity):
        return 0
    takes = norm.couples_batch or norm.within_sample or issubclass(norm, RunningAverages)
    return 2 if takes else 1


def keeps_back(name: str) -> str:
    """What of a gradient that the samples of a batch share the norm keeps from the features."""
    norm = norm_class(name)
    if norm.blocks_as_bn:
        return "mean and scale over the batch"
    if norm.couples_batch:
        return "scale over the batch"
    return "scale, or mean and scale, within a sample" if norm.within_sample else "nothing"


def remedies_figure(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Test accuracy under each norm, the best on label-pure batches first; a panel per batching.

    Args:
        results: runs of one network in long form.
        classes: of the data set, for the line at chance; a run that diverged counts as that.
    """
    drawn = outcomes(results, 1 / classes)
    batchings = pure_first(drawn)
    first = where(drawn, batching=batchings[0])
    order = first.groupby("norm")["value"].mean().sort_values(ascending=False, kind="stable").index
    figure, panels = panel_grid(1, len(batchings), 0.7 + 0.24 * len(order), sharey=True)
    for axes, batching in zip(panels[0], batchings, strict=True):
        for place, norm in enumerate(order):
            values = where(drawn, norm=norm, batching=batching)["value"]
            look = LOOKS[norm]
            draw_interval(axes, [*values], place, color=look.color, marker=look.marker)
        axes.axvline(1 / classes, color="grey", lw=0.8, ls=":", zorder=0)
        axes.set(xlim=(0, 1.02), xlabel="test accuracy")
        axes.grid(axis="x", color="#EEEEEE", lw=0.6)
        axes.set_axisbelow(True)
    panels[0][0].set_yticks(range(len(order)), [LOOKS[norm].label for norm in order])
    panels[0][0].set_ylim(len(order) - 0.4, -0.7)
    title_columns(panels, map(batch_title, batchings))
    return figure, drawn


def remedies_table(results: pd.DataFrame, classes: int) -> pd.DataFrame:
    """The same as numbers, with what each norm keeps back and how often it reads the features: one
    row for each norm.
    """
    drawn = outcomes(results, 1 / classes)
    cells = drawn.groupby(["norm", "batching"])["value"].agg(interval_text).unstack("batching")
    batchings = pure_first(drawn)
    table = cells[batchings].rename(columns=batch_title).reset_index()
    table = rows_in_order(table, {"norm": norms_in(drawn)})
    return table.assign(
        keeps_back=table["norm"].map(keeps_back),
        reads=table["norm"].map(forward_reads),
        norm=table["norm"].map(lambda norm: LOOKS[norm].label),
    ).rename(columns={"keeps_back": "keeps back", "reads": "reads of the features"})
