"""Two runs held against each other: files by their bytes, tables by their cells, the ledger by its
rows.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from bnblind.errors import BadInput
from bnblind.pipeline.formats.tables import read_table
from bnblind.review.runs import Run

IDENTICAL, WITHIN, DIFFERENT = "identical", "within tolerance", "different"
MISSING, EXTRA = "missing", "extra"
RELATIVE, ABSOLUTE = 1e-6, 1e-12
"""The tolerance of a number: one of the two; the second is what rounding leaves of a zero."""
NUMBERS = re.compile(r"data/results/.*\.parquet|reports/figures/.*\.csv")
"""The files whose numbers are compared."""
EXAMPLES = 5


def _plain(value: Any) -> Any:
    """A cell as JSON has it."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | str) else str(value)


def differing_cells(here: pd.DataFrame, there: pd.DataFrame) -> dict[str, Any]:
    """How many cells differ by more than the tolerance, of how many, and the first of them."""
    if [*here.columns] != [*there.columns] or len(here) != len(there):
        shapes = [f"{len(t)} rows of {', '.join(map(str, t))}" for t in (there, here)]
        return {"cells": max(here.size, there.size, 1), "of": there.size, "shape": shapes}
    found = []
    for column in there:
        ours, theirs = here[column], there[column]
        if is_numeric_dtype(ours) and is_numeric_dtype(theirs):
            pair = ours.to_numpy(float), theirs.to_numpy(float)
            far = ~np.isclose(*pair, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
        else:
            far = (ours.astype(str) != theirs.astype(str)).to_numpy()
        found += [(int(row), column) for row in np.flatnonzero(far)]
    examples = [
        {"row": row, "column": column}
        | {"there": _plain(there[column][row]), "here": _plain(here[column][row])}
        for row, column in found[:EXAMPLES]
    ]
    return {"cells": len(found), "of": there.size, "examples": examples}


def _read(path: Path) -> pd.DataFrame | None:
    """The numbers of a table or of a figure; None where they cannot be read."""
    try:
        return pd.read_csv(path) if path.suffix == ".csv" else read_table(path)
    except (OSError, ValueError, BadInput):
        return None


def compared(here: Run, there: Run) -> dict[str, dict[str, Any]]:
    """Of every file that either run has: its verdict and, of a different table or figure whose
    numbers are at hand, the cells.
    """

    def of_file(path: str) -> dict[str, Any]:
        if path not in there.files:
            return {"verdict": EXTRA}
        if path not in here.files:
            return {"verdict": MISSING}
        if here.files[path] == there.files[path]:
            return {"verdict": IDENTICAL}
        if here.numbers is None or there.numbers is None or not NUMBERS.fullmatch(path):
            return {"verdict": DIFFERENT}
        ours, theirs = _read(here.numbers / path), _read(there.numbers / path)
        if ours is None or theirs is None:
            return {"verdict": DIFFERENT}
        cells = differing_cells(ours, theirs)
        return {"verdict": DIFFERENT if cells["cells"] else WITHIN, "cells": cells}

    return {path: of_file(path) for path in sorted({*here.files, *there.files})}


def flips(here: Run, there: Run) -> dict[str, list[str]]:
    """Of each row of either ledger whose verdict is another: there, and here."""

    def verdict(run: Run, name: str) -> str:
        return str(run.rows.get(name, {"verdict": "no such row"})["verdict"])

    found = {
        name: [verdict(there, name), verdict(here, name)] for name in {**there.rows, **here.rows}
    }
    return {name: verdicts for name, verdicts in found.items() if verdicts[0] != verdicts[1]}


def apart(here: Run, there: Run) -> list[str]:
    """The rows, of those with a number there, whose interval does not meet the other run's."""

    def meet(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
        if not ours.get("interval"):
            return False
        (low, high), (least, most) = ours["interval"], theirs["interval"]
        return bool(low <= most + ABSOLUTE and least <= high + ABSOLUTE)

    judged = {name: row for name, row in there.rows.items() if row["interval"]}
    return [name for name, row in judged.items() if not meet(here.rows.get(name, {}), row)]


def in_words(path: str, found: Mapping[str, Any]) -> str:
    line = f"{found['verdict']}: {path}"
    if not (cells := found.get("cells")):
        return line
    line += f" ({cells['cells']} of {cells['of']} cells"
    if "shape" in cells:
        return f"{line}: {cells['shape'][1]} instead of {cells['shape'][0]})"
    for first in cells["examples"][:1]:
        line += f", first row {first['row']}, {first['column']}: {first['here']}"
        line += f" instead of {first['there']}"
    return f"{line})"
