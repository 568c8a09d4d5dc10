"""Step: the results of all cells as one table, and their final figures as metrics."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from bnblind.errors import BadInput
from bnblind.pipeline.files import json_bytes, publish, table_bytes

ORDER = ["dataset", "model", "norm", "batching", "lr", "seed", "epoch", "metric"]


def read_table(path: Path) -> pd.DataFrame:
    """A Parquet table.

    Raises:
        BadInput: the file is truncated or no Parquet file.
    """
    if not path.is_file():
        raise BadInput(f"there is no table {path}")
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path} cannot be read: {error}; delete it to have it made again"
        ) from error


def joined(paths: list[Path], order: list[str]) -> pd.DataFrame:
    """The tables of all cells as one, sorted by the columns ``order``, which tell rows apart.

    Raises:
        BadInput: two tables hold the same row.
    """
    table = pd.concat([read_table(path) for path in paths], ignore_index=True)
    table = table.sort_values(order, kind="stable", ignore_index=True)
    if table.duplicated(order).any():
        twice = table.loc[table.duplicated(order), order].iloc[0].to_dict()
        raise BadInput(f"two grids hold the same run: {twice}")
    return table


def final_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Nested by cell, then metric: mean, min and max over the seeds at the last epoch."""
    last = table[table["epoch"] == table.groupby(ORDER[:5])["epoch"].transform("max")]
    metrics: dict[str, Any] = {}
    for (*cell, metric), rows in last.groupby([*ORDER[:5], "metric"], sort=True):
        name = "-".join([*map(str, cell[:4]), f"lr{cell[4]}"])
        value = rows["value"]
        metrics.setdefault(name, {})[metric] = {
            "mean": value.mean(),
            "min": value.min(),
            "max": value.max(),
        }
    return metrics


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="collect", description=__doc__)
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="tables to read")
    parser.add_argument("--table", type=Path, required=True, help="table to write")
    parser.add_argument("--metrics", type=Path, required=True, help="final metrics to write")
    args = parser.parse_args(argv)
    table = joined(args.cells, ORDER)
    publish({args.table: table_bytes(table), args.metrics: json_bytes(final_metrics(table))})
    print(f"{args.table}: {len(table)} rows of {len(args.cells)} cells")
