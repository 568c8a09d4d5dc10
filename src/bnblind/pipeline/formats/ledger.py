"""The ledger as a file."""

import json
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput

KEYS = {
    *("id", "claim", "paper", "required", "value", "interval", "seeds", "verdict"),
    *("p", "corrected", "scope", "theorem", "artifact"),
}
"""What is read of a row."""


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """The rows that a run wrote; raises BadInput if there is no such file, or no ledger."""
    if not path.is_file():
        raise BadInput(f"there is no ledger {path}; `make reproduce` writes it")
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        lacking = sorted({key for row in rows for key in KEYS - {*dict(row)}})
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInput(
            f"{path} is not a ledger: {error}; delete it to have it made again"
        ) from error
    if lacking:
        raise BadInput(f"{path}: found a row without {', '.join(lacking)}")
    return rows
