"""Step: the results of all cells of the flow experiment as one table, and its gaps as metrics."""

import argparse
import math
from pathlib import Path
from typing import Any

import pandas as pd

from bnblind.experiments.intervals import t_interval
from bnblind.pipeline.collect import joined
from bnblind.pipeline.files import json_bytes, publish, table_bytes

CELL = ["dataset", "pair", "coupling", "norm", "coupling_norm", "batching"]
ORDER = [*CELL, "seed", "epoch", "metric", "share"]
REPORTED = ("gap", "auc", "real.mean")


def flow_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Nested by cell, then metric of the test images: mean and t interval over the seeds."""
    metrics: dict[str, Any] = {}
    names = [f"test.{kind}.{name}" for kind in ("plain", "recalibrated") for name in REPORTED]
    chosen = table[table["metric"].isin(names)]
    for (*cell, metric), rows in chosen.groupby([*CELL, "metric"], sort=True):
        mean, low, high = t_interval(rows["value"].tolist())
        ends = {"low": low, "high": high} if math.isfinite(low) else {}
        metrics.setdefault("-".join(map(str, cell)), {})[metric] = {"mean": mean, **ends}
    return metrics


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="collect_flows", description=__doc__)
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="tables to read")
    parser.add_argument("--table", type=Path, required=True, help="table to write")
    parser.add_argument("--metrics", type=Path, required=True, help="final metrics to write")
    args = parser.parse_args(argv)
    table = joined(args.cells, ORDER)
    publish({args.table: table_bytes(table), args.metrics: json_bytes(flow_metrics(table))})
    print(f"{args.table}: {len(table)} rows of {len(args.cells)} cells")
