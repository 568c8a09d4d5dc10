"""The final figures of the classifiers' results."""

from collections.abc import Sequence

import pandas as pd


def final(table: pd.DataFrame, cell: Sequence[str]) -> pd.DataFrame:
    """The rows of each run's last epoch; ``cell`` are the columns that tell cells apart."""
    last = table.groupby(list(cell), dropna=False)["epoch"].transform("max")
    return table[table["epoch"] == last]


def spread(values: pd.Series) -> dict[str, float]:
    """Mean, smallest and largest value over the seeds."""
    return {"mean": values.mean(), "min": values.min(), "max": values.max()}
