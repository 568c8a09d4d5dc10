"""How training ended, run by run, as the ledger reads it, and drawn as dots with intervals."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bnblind.experiments.cells import LAST
from bnblind.experiments.intervals import t_interval
from bnblind.figures.naming import batchings_in


def outcomes(
    results: pd.DataFrame, chance: float, metric: str = "test.eval.accuracy", last: int = LAST
) -> pd.DataFrame:
    """``metric`` of each run, mean of its last three epochs of training, or of the ``last`` ones.

    Args:
        results: runs in long form.
        chance: what a run that diverged counts as, also one that did so before it was measured.

    Returns:
        The columns that tell cells apart, seed, value, and diverged (bool).
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
    axes: Axes,
    values: Sequence[float],
    place: float,
    shift: float = 0.28,
    diverged: Sequence[bool] = (),
    **marks: Any,
) -> None:
    """At the height ``place`` the mean of ``values`` with its t interval, the values below it;
    those that stand for a run that ``diverged`` are crosses.
    """
    mean, low, high = t_interval(values)
    small = marks | {"ms": 2.2, "alpha": 0.6, "label": None}
    lost = [value for value, so in zip(values, diverged, strict=False) if so]
    axes.plot(values, [place + shift] * len(values), ls="", **small)
    axes.plot(lost, [place + shift] * len(lost), ls="", **small | {"marker": "x", "ms": 4})
    axes.plot([low, high], [place, place], color=marks["color"], lw=1)
    axes.plot([mean], [place], ls="", **marks)


def interval_text(values: pd.Series) -> str:
    """Mean (ends of the t interval), without a leading 0."""
    mean, low, high = (f"{value:.3f}".replace("0.", ".", 1) for value in t_interval([*values]))
    return f"{mean} ({low} to {high})"
