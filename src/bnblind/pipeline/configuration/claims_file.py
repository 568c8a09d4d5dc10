"""The claims' file: checked against its schema, and for rows that say too much or too little."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.pipeline.configuration.keys import GRID
from bnblind.pipeline.configuration.schema import read_yaml, violations

CLAIMS = Path("config/claims.yaml")
SCHEMA = Path("workflow/schemas/claims.schema.yaml")
STATISTICS = ("largest", "smallest", "mean", "difference")
BOUNDS = ("at_least", "at_most")


def _is_table(name: str, kinds: Collection[str]) -> bool:
    """Whether a table is of one of the ``kinds``, names in which ``{grid}`` stands for a grid."""
    patterns = (re.escape(kind).replace(r"\{grid\}", GRID.strip("^$")) for kind in kinds)
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _unclear(claims: Mapping[str, Any], kinds: Collection[str]) -> Iterator[str]:
    """Rows of claims that read no table, or say too much or too little."""
    for name, claim in claims.items():
        for part, row in claim["rows"].items():
            if not _is_table(row["table"], kinds):
                allowed = ", ".join(kind.format(grid="GRID") for kind in kinds)
                yield f"{name}.rows.{part}.table: found {row['table']!r}; allowed: {allowed}"
            for words in (STATISTICS, BOUNDS):
                found = [word for word in words if row.get(word) is not None]
                if len(found) != 1:
                    yield (
                        f"{name}.rows.{part}: found {', '.join(found) or 'none'}; allowed: exactly "
                        f"one of {', '.join(words)}"
                    )
            for side in ("of", "minus"):
                own = row.get(side, {})
                for conditions in own if isinstance(own, list) else [own]:
                    if twice := {*row["where"]} & {*conditions}:
                        yield f"{name}.rows.{part}: {sorted(twice)} in both `where` and `{side}`"
            if row.get("difference") is not None and not {"of", "minus"} <= set(row):
                yield f"{name}.rows.{part}: a difference needs both `of` and `minus`"


def read_claims(kinds: Collection[str], path: Path = CLAIMS) -> dict[str, Any]:
    """The claims and what counts as reproducing them, checked; ``kinds`` are the names of the
    tables that a row may read, ``{grid}`` standing for a grid. The BadInput names every offending
    key with what was found and what is allowed.
    """
    claims: dict[str, Any] = read_yaml(path)
    lines = violations(claims, read_yaml(SCHEMA)) or list(_unclear(claims, kinds))
    if lines:
        raise BadInput(f"{path}: " + "\n  ".join(lines))
    return claims
