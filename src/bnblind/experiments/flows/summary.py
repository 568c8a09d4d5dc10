"""The final figures of the flows' results."""

import math
from collections.abc import Sequence

import pandas as pd

from bnblind.experiments.intervals import t_interval

REPORTED = ("gap", "auc", "real.mean")


def final(table: pd.DataFrame, cell: Sequence[str]) -> pd.DataFrame:
    """The rows of what is reported of the test images; a cell has one epoch of them, its best."""
    names = [f"test.{kind}.{name}" for kind in ("plain", "recalibrated") for name in REPORTED]
    return table[table["metric"].isin(names)]


def spread(values: pd.Series) -> dict[str, float]:
    """Mean over the seeds and, of several, its 95 % t interval."""
    mean, low, high = t_interval(values.tolist())
    return {"mean": mean} | ({"low": low, "high": high} if math.isfinite(low) else {})
