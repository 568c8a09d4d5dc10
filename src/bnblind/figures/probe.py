"""Figure of what a model's batch-norm layers block."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bnblind.figures.panels import draw_shares
from bnblind.figures.style import COLUMN, SHARES


def share_bars(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """One bar per layer, cut into the shares of the gradient that are blocked and that pass.

    Args:
        table: columns layer, mean_share, scale_share, passing; drawn from top to bottom. A
            layer whose shares are NaN is named, without a bar.
    """
    drawn = table[["layer", *SHARES]]
    figure, axes = plt.subplots(figsize=(1.25 * COLUMN, 0.8 + 0.16 * len(drawn)))
    rows = range(len(drawn))
    draw_shares(axes, rows, drawn[list(SHARES)].fillna(0), height=0.8, linewidth=0)
    for row in (row for row in rows if drawn["passing"].isna().iloc[row]):
        axes.text(0.01, row, "no gradient", va="center", fontsize=6, color="grey")
    axes.set_yticks(rows, drawn["layer"].tolist())
    axes.set(ylim=(len(drawn) - 0.4, -0.6), xlabel="share of the squared gradient")
    figure.legend(loc="outside upper center", ncols=len(SHARES))
    return figure, drawn
