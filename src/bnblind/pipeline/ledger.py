"""The ledger: each claim's rows, judged by the tables of results.

A row of ``config/claims.yaml`` selects rows of a table, takes one number of them (`measurement`)
and compares it with a tolerance. Nothing here knows a particular claim.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from bnblind.errors import BadInput
from bnblind.experiments.intervals import holm, one_sided_p
from bnblind.pipeline.configuration.claims_file import BOUNDS, STATISTICS
from bnblind.pipeline.measurement import OF_SEEDS, Measured, Unjudged, measure, stated
from bnblind.pipeline.paths import Paths
from bnblind.pipeline.proofs_record import Proofs

REPRODUCED, PARTLY, REFUTED = "reproduced", "partly", "not reproduced"
UNDECIDED, NO_NUMBER = "undecided", "without a number"
VERDICTS = (REPRODUCED, REFUTED, UNDECIDED, NO_NUMBER)
"""Of a row, in the order in which pages name them."""
ONE_SIDED = 0.025
"""Level of the tests that correspond to the 95 % intervals, whose other side is not claimed."""
FIRST_SEED = 30
"""Seeds below were seen while settings were chosen and claims written; they judge nothing."""

Row = dict[str, Any]
ReadTable = Callable[[str], pd.DataFrame | None]
"""Name of a table, such as ``theorems/passing`` -> the table, whose column ``profile`` says what
computed a row; None if the profile has none."""


def predicate(row: Mapping[str, Any]) -> tuple[str, float]:
    """The row's predicate in words, and its tolerance."""
    kind, bound = stated(row, STATISTICS), stated(row, BOUNDS)
    what = "mean over seeds, with its 95 % t interval," if kind in OF_SEEDS else kind
    sign = ">=" if bound == "at_least" else "<="
    return f"{what} {sign} {row[bound]:g}", row[bound]


def judge(
    name: str,
    claim: Mapping[str, Any],
    row: Mapping[str, Any],
    read: ReadTable,
    beside: Collection[str] = (),
) -> Row:
    """One row of the ledger; ``name`` such as ``C5.head``. Raises BadInput if the row names a
    column or condition that does not exist.
    """
    words, tolerance = predicate(row)
    table, scope, found, p = read(row["table"]), row["scope"], None, None
    try:
        found = None if table is None else measure(row, table)
    except Unjudged as why:
        scope = f"{scope} ({why})"
    except BadInput as error:
        raise BadInput(f"claim {name}, table {row['table']}: {error}") from error
    if found is not None and min(found.seeds) < FIRST_SEED:
        found, scope = None, f"{scope} (seeds below {FIRST_SEED} judge nothing)"
    verdict = NO_NUMBER
    if found is not None:
        if found.notes:
            scope = f"{scope} ({'; '.join(found.notes)})"
        low, high = found.interval
        at_least = stated(row, BOUNDS) == "at_least"
        verdict = REPRODUCED if (low >= tolerance if at_least else high <= tolerance) else REFUTED
        if stated(row, STATISTICS) in OF_SEEDS:
            verdict = UNDECIDED if low < tolerance < high else verdict
            p = one_sided_p(found.values, tolerance)
    return {
        "id": name,
        "claim": claim["claim"],
        "required": claim["required"],
        "paper": claim.get("paper", True),
        "theorem": row.get("theorem", []),
        "predicate": words,
        "tolerance": tolerance,
        "value": None if found is None else found.value,
        "interval": None if found is None else list(found.interval),
        "seeds": [] if found is None else list(found.seeds),
        "values": [] if found is None else list(map(float, found.values)),
        "profiles": [] if found is None else list(found.profiles),
        "verdict": verdict,
        "p": p,
        "scope": scope,
        "artifact": _place(row["table"], found, beside),
        "figure": Paths(".").figure(row["figure"])[0],
    }


def _place(table: str, found: Measured | None, beside: Collection[str]) -> str:
    """Where the table of a row lies, below the run's root."""
    owner = found.profiles[0] if found and len(found.profiles) == 1 else ""
    return replace(Paths("."), beside=owner if owner in beside else "").table(table)


def counts(rows: Iterable[Row]) -> str:
    """How many of a claim's rows hold, such as "2 of 2 theorem rows; 3 of 8 measured, 1 undecided,
    2 without a number"; those that a theorem settles apart.
    """
    rows = list(rows)
    told = []
    for kind, own in (
        ("theorem rows", [row for row in rows if row["theorem"]]),
        ("measured", [row for row in rows if not row["theorem"]]),
    ):
        held, undecided, missing = (
            sum(row["verdict"] == verdict for row in own)
            for verdict in (REPRODUCED, UNDECIDED, NO_NUMBER)
        )
        if own:
            also = f", {undecided} undecided" if undecided else ""
            also += f", {missing} {NO_NUMBER}" if missing else ""
            told.append(f"{held} of {len(own) - missing} {kind}{also}")
    return "; ".join(told)


def overall(verdicts: Collection[str]) -> str:
    """The verdict on a claim from those on its rows."""
    found = {*verdicts}
    if len(found) == 1:
        return next(iter(found))
    if REFUTED in found and REPRODUCED not in found:
        return REFUTED
    return UNDECIDED if UNDECIDED in found and REFUTED not in found else PARTLY


def corrected(rows: Iterable[Row]) -> dict[str, str]:
    """The verdicts on a claim's means and differences after Holm's correction of one-sided t tests
    at .025, over those that no theorem settles: the probability of any verdict on the wrong side is
    at most .05, both sides being open.
    """
    tested = {row["id"]: row for row in rows if row["p"] is not None and not row["theorem"]}
    decided = holm({name: row["p"] for name, row in tested.items()}, ONE_SIDED)
    return {name: tested[name]["verdict"] if name in decided else UNDECIDED for name in tested}


def _summary(name: str, claim: Mapping[str, Any], rows: list[Row]) -> Row:
    """The row of the whole claim: how many of its own rows hold, and where."""
    held = [row for row in rows if row["verdict"] == REPRODUCED]
    verdict = overall([row["verdict"] for row in rows])
    words = {
        "Holds": REPRODUCED,
        "Does not": REFUTED,
        "Undecided": UNDECIDED,
        "Without a number": NO_NUMBER,
    }
    parts = {
        word: "; ".join(row["scope"] for row in rows if row["verdict"] == of)
        for word, of in words.items()
    }
    return {
        **rows[0],
        "id": name,
        "predicate": "share of its rows that hold = 1",
        "tolerance": 1.0,
        "value": len(held) / len(rows),
        "interval": None,
        "seeds": sorted({seed for row in rows for seed in row["seeds"]}),
        "values": [],
        "profiles": sorted({profile for row in rows for profile in row["profiles"]}),
        "verdict": verdict,
        "p": None,
        "artifact": None,
        "figure": None,
        "scope": ". ".join(f"{word}: {scopes}" for word, scopes in parts.items() if scopes),
        "theorem": [*dict.fromkeys(name for row in rows for name in row["theorem"])],
    }


def _proof(row: Row, proofs: Proofs) -> str | None:
    """Whether the row's theorems are proved; None if it names none."""
    try:
        return proofs.standing(row["theorem"]) if row["theorem"] else None
    except BadInput as error:
        raise BadInput(f"claim {row['id']}: {error}") from error


def ledger(
    claims: Mapping[str, Any], read: ReadTable, proofs: Proofs, beside: Collection[str] = ()
) -> list[Row]:
    """Every claim's row, followed by the rows that refine it; raises BadInput if one names a
    column, condition or theorem that does not exist. The tables of the profiles ``beside`` lie in
    folders of their own.
    """

    def rows() -> Iterator[Row]:
        for name, claim in claims.items():
            parts = claim["rows"].items()
            own = [judge(f"{name}.{part}", claim, row, read, beside) for part, row in parts]
            together = corrected(own)
            for row in (_summary(name, claim, own), *own):
                yield {**row, "corrected": together.get(row["id"]), "proof": _proof(row, proofs)}

    return list(rows())
