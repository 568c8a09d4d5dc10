"""The claims' file: checked against its schema, and for rows that say too much or too little."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.pipeline.ledger import STATISTICS
from bnblind.pipeline.schema import read_yaml, violations

CLAIMS = Path("config/claims.yaml")
SCHEMA = Path("workflow/schemas/claims.schema.yaml")
BOUNDS = ("at_least", "at_most")


def _unclear(claims: Mapping[str, Any]) -> Iterator[str]:
    """Rows of claims that say too much or too little."""
    for name, claim in claims.items():
        for part, row in claim["rows"].items():
            for words in (STATISTICS, BOUNDS):
                found = [word for word in words if row.get(word) is not None]
                if len(found) != 1:
                    yield (
                        f"{name}.rows.{part}: found {', '.join(found) or 'none'}; allowed: exactly "
                        f"one of {', '.join(words)}"
                    )
            if row.get("difference") is not None and not {"of", "minus"} <= set(row):
                yield f"{name}.rows.{part}: a difference needs both `of` and `minus`"


def read_claims(path: Path = CLAIMS) -> dict[str, Any]:
    """The claims and what counts as reproducing them.

    Raises:
        BadInput: names every offending key with what was found and what is allowed.
    """
    claims: dict[str, Any] = read_yaml(path)
    lines = violations(claims, SCHEMA) or list(_unclear(claims))
    if lines:
        raise BadInput(f"{path}: " + "\n  ".join(lines))
    return claims
