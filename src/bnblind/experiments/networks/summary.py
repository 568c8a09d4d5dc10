"""The final figures of the classifiers' results."""

from typing import Any

import pandas as pd

from bnblind.experiments.networks.cell import CELL


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Nested by cell, then metric: mean, min and max over the seeds at the last epoch."""
    cell = [field.name for field in CELL.identity_fields() if field.name in table]
    last = table[table["epoch"] == table.groupby(cell)["epoch"].transform("max")]
    metrics: dict[str, Any] = {}
    for (*values, metric), rows in last.groupby([*cell, "metric"], sort=True):
        named = dict(zip(cell, values, strict=True)) | {"lr": f"lr{values[cell.index('lr')]}"}
        value = rows["value"]
        metrics.setdefault("-".join(map(str, named.values())), {})[metric] = {
            "mean": value.mean(),
            "min": value.min(),
            "max": value.max(),
        }
    return metrics
