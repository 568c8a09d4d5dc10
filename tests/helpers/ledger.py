"""Tables and rows for the tests of the ledger."""

from typing import Any

import pandas as pd

from bnblind.pipeline.ledger import judge

CLAIM = {"claim": "a claim", "required": True}


def accuracies(**by_norm: list[float]) -> pd.DataFrame:
    """Two epochs per run; only the last counts."""
    return pd.DataFrame(
        [
            {"norm": norm, "seed": 30 + i, "epoch": epoch, "value": value if epoch == 2 else -9.0}
            for norm, values in by_norm.items()
            for i, value in enumerate(values)
            for epoch in (1, 2)
        ]
    )


def row(**changes: Any) -> dict[str, Any]:
    base = {
        "scope": "here",
        "table": "t",
        "figure": "f",
        "where": {"epoch": "last"},
        "difference": "value",
        "of": {"norm": "ln"},
        "minus": {"norm": "bn"},
        "at_least": 0.1,
    }
    return {k: v for k, v in (base | changes).items() if v is not None}


def verdict(rule: dict[str, Any], table: pd.DataFrame | None) -> str:
    return judge("C1.x", CLAIM, rule, lambda name: table)["verdict"]
