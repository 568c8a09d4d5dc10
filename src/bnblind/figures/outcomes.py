"""How training ended, run by run, as the ledger reads it, and drawn as dots with intervals."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bnblind.experiments.cells import LAST
from bnblind.experiments.intervals import t_interval
from bnblind.figures.naming import batchings_in
from bnblind.figures.panels import SEED, jitter


def outcomes(
    results: pd.DataFrame, chance: float, metric: str = "test.eval.accuracy", last: int = LAST
) -> pd.DataFrame:
    """``metric`` of each run, mean of its last three epochs of training, or of the ``last`` ones:
    the columns that tell cells apart, seed, value, and diverged (bool). A run that diverged counts
    as ``chance``, also one that did so before it was measured.
    """
    numbers = ("epoch", "metric", "value", "batch_order")
    run = [name for name in results if name not in numbers]
    rows = results[(results["metric"] == metric) & (results["epoch"] > 0)]
    late = rows[rows.groupby(run)["epoch"].rank(ascending=False) <= last]
    found = late.groupby(run, sort=False)["value"].mean().reset_index()
    ended = results.loc[results["metric"] == "diverged", run].drop_duplicates()
    if len(ended):
        found = pd.concat([found, ended]).drop_duplicates(run, ignore_index=True)
    found = found.merge(ended.assign(diverged=True), on=run, how="left")
    diverged = found["diverged"].notna()
    return found.assign(diverged=diverged, value=found["value"].mask(diverged, chance))


def pure_first(table: pd.DataFrame) -> list[str]:
    """The batchings in the column ``batching``, random batches last."""
    return sorted(batchings_in(table), key=lambda batching: batching == "random")


def draw_interval(
    axes: Axes, rows: pd.DataFrame, place: float, shift: float = 0.28, **marks: Any
) -> None:
    """At the height ``place`` the mean of the column ``value`` with its t interval, the values
    below it, moved apart; those of runs that ``diverged``, if that is a column, are crosses.
    """
    values = [*rows["value"]]
    mean, low, high = t_interval(values)
    heights = [place + shift + 0.2 * moved for moved in jitter(len(values))]
    ended = zip(values, heights, rows.get("diverged", ()), strict=False)
    lost = [(value, height) for value, height, so in ended if so]
    axes.plot(values, heights, **marks | SEED)
    if lost:
        axes.plot(*zip(*lost, strict=True), **marks | SEED | {"marker": "x", "ms": 4})
    axes.plot([low, high], [place, place], color=marks["color"], lw=1)
    axes.plot([mean], [place], **marks | {"ls": ""})
