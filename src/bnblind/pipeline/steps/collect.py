"""Step: the results of all cells of an experiment as one table, and their final figures."""

import argparse
from dataclasses import MISSING
from importlib import import_module
from pathlib import Path

import pandas as pd

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell
from bnblind.pipeline.formats.files import json_bytes, publish
from bnblind.pipeline.formats.tables import read_table, table_bytes


def joined(tables: list[pd.DataFrame], cell: type[Cell]) -> pd.DataFrame:
    """The tables of all cells as one, sorted by the columns that tell rows apart.

    A column that only some tables have holds the cell's default elsewhere.

    Raises:
        BadInput: two tables hold the same row.
    """
    table = pd.concat(tables, ignore_index=True)
    told = [field for field in cell.identity_fields() if field.name in table]
    names = [field.name for field in told]
    defaults = {field.name: field.default for field in told if field.default is not MISSING}
    table = table.fillna(defaults)
    rest = [name for name in table.columns if name not in names]
    order = [*names, *(name for name in rest if name not in ("value", "batch_order"))]
    table = table[[*names, *rest]].sort_values(order, kind="stable", ignore_index=True)
    if table.duplicated(order).any():
        twice = table.loc[table.duplicated(order), order].iloc[0].to_dict()
        raise BadInput(f"two grids hold the same run: {twice}")
    return table


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="collect", description=__doc__)
    parser.add_argument("--kind", required=True, help="what was trained: networks or flows")
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="tables to read")
    parser.add_argument("--table", type=Path, required=True, help="table to write")
    parser.add_argument("--metrics", type=Path, required=True, help="final figures to write")
    args = parser.parse_args(argv)
    kind = import_module(f"bnblind.experiments.{args.kind}.summary")
    table = joined([read_table(path) for path in args.cells], kind.CELL)
    publish({args.table: table_bytes(table), args.metrics: json_bytes(kind.summary(table))})
    print(f"{args.table}: {len(table)} rows of {len(args.cells)} jobs")
