"""The final figures of the flows' results."""

import math
from typing import Any

import pandas as pd

from bnblind.experiments.flows.cell import CELL
from bnblind.experiments.intervals import t_interval

REPORTED = ("gap", "auc", "real.mean")


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Nested by cell, then metric of the test images: mean and t interval over the seeds."""
    cell = [field.name for field in CELL.identity_fields() if field.name in table]
    names = [f"test.{kind}.{name}" for kind in ("plain", "recalibrated") for name in REPORTED]
    chosen = table[table["metric"].isin(names)]
    metrics: dict[str, Any] = {}
    for (*values, metric), rows in chosen.groupby([*cell, "metric"], sort=True):
        mean, low, high = t_interval(rows["value"].tolist())
        ends = {"low": low, "high": high} if math.isfinite(low) else {}
        metrics.setdefault("-".join(map(str, values)), {})[metric] = {"mean": mean, **ends}
    return metrics
