"""Step: the results of all cells of an experiment as one table, and their final figures.

Each row says which profile computed it: this one, or one whose table was taken over.
"""

from dataclasses import MISSING
from importlib import import_module
from types import ModuleType
from typing import Any

import pandas as pd

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell, cell_type
from bnblind.pipeline.formats.files import json_bytes, publish
from bnblind.pipeline.formats.tables import read_table, table_bytes
from bnblind.pipeline.options import parse


def joined(tables: list[pd.DataFrame], cell: type[Cell]) -> pd.DataFrame:
    """The tables of all cells as one, sorted by the columns that tell rows apart.

    A column that no table or only some have holds the cell's default elsewhere, so that claims may
    name it of any run; where that is None, it is missing there. Raises BadInput if two tables hold
    the same row.
    """
    table = pd.concat(tables, ignore_index=True)
    fields = cell.identity_fields()
    defaults = {f.name: f.default for f in fields if f.default not in (MISSING, None)}
    table = table.assign(**{name: d for name, d in defaults.items() if name not in table})
    table = table.fillna(defaults)
    partly = [f.name for f in fields if f.name in table and table[f.name].isna().any()]
    table = table.assign(**{name: table[name].convert_dtypes() for name in partly})
    names = [field.name for field in fields if field.name in table]
    rest = [name for name in table.columns if name not in names]
    order = [*names, *(name for name in rest if name not in ("value", "batch_order", "profile"))]
    table = table[[*names, *rest]].sort_values(order, kind="stable", ignore_index=True)
    if table.duplicated(order).any():
        twice = table.loc[table.duplicated(order), order].iloc[0].to_dict()
        raise BadInput(f"two grids hold the same run: {twice}")
    return table


def metrics(table: pd.DataFrame, cell: type[Cell], kind: ModuleType) -> dict[str, Any]:
    """The kind's final figures over the seeds, nested by cell, then metric."""
    columns = [field.name for field in cell.identity_fields() if field.name in table]
    nested: dict[str, Any] = {}
    final = kind.final(table, columns).groupby([*columns, "metric"], dropna=False)
    for (*values, metric), rows in final:
        told = dict(zip(columns, values, strict=True))
        name = cell.named({key: value for key, value in told.items() if not pd.isna(value)})
        nested.setdefault(name, {})[metric] = kind.spread(rows["value"])
    return nested


def main(argv: list[str]) -> None:
    args = parse(
        __name__, argv, word="kind profile", file="table metrics", optional_files="cells taken"
    )
    cell = cell_type(args.kind)
    kind = import_module(f"bnblind.experiments.{cell.summary}.summary")
    own = [read_table(path).assign(profile=args.profile) for path in args.cells]
    table = joined([*own, *map(read_table, args.taken)], cell)
    figures = json_bytes(metrics(table, cell, kind))
    publish({args.table: table_bytes(table), args.metrics: figures})
    print(f"{args.table}: {len(table)} rows of {len(own)} jobs and {len(args.taken)} profiles")
