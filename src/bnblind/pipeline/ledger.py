"""The ledger: each claim's rows, judged by the tables of results.

A row of ``config/claims.yaml`` selects rows of a table, takes one number of them and compares it
with a tolerance. Nothing here knows a particular claim.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from bnblind.errors import BadInput, unknown
from bnblind.experiments.intervals import t_interval
from bnblind.pipeline.artifacts import Paths
from bnblind.pipeline.configuration.claims_file import BOUNDS, STATISTICS
from bnblind.pipeline.proofs_record import Proofs

REPRODUCED, PARTLY, REFUTED, NOT_RUN = "reproduced", "partly", "not reproduced", "not run"
FEWEST_SEEDS = 3
OF_SEEDS = ("mean", "difference")
"""Statistics that are a mean over the seeds."""
FIRST_SEED = 30
"""Seeds below were seen while settings were chosen and claims written; they judge nothing."""

Row = dict[str, Any]
ReadTable = Callable[[str], pd.DataFrame | None]
"""Name of a table, such as ``theorems/passing`` -> the table; None if the profile has none."""


class Unjudged(Exception):
    """A row has a table but no number to be judged by; the message says why."""


@dataclass(frozen=True)
class Measured:
    """A number read from a table: with its interval, and the seeds behind it."""

    value: float
    interval: tuple[float, float]
    seeds: tuple[int, ...]


def _matching(column: pd.Series, wanted: Any) -> pd.Series:
    """Which entries satisfy a ``where`` condition: a value, ``last``, ``{last: k}`` or a bound."""
    if wanted == "last":
        wanted = {"last": 1}
    if not isinstance(wanted, Mapping):
        return column == wanted
    ((kind, bound),) = wanted.items()
    if not is_numeric_dtype(column):
        raise BadInput(f"`{kind}` needs a column of numbers; {column.name} holds text")
    if kind == "last":
        return column.isin(sorted(column.unique())[-bound:])
    if kind == "at_most":
        return column <= bound
    if kind == "at_least":
        return column >= bound
    raise unknown("condition", kind, ("last", "at_most", "at_least"))


def _is_last(wanted: Any) -> bool:
    return wanted == "last" or (isinstance(wanted, Mapping) and "last" in wanted)


def select(table: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of ``table`` that fulfil all conditions; ``last`` applies to what the others leave.
    Raises BadInput for a column that the table does not have.
    """
    for name, wanted in sorted(where.items(), key=lambda condition: _is_last(condition[1])):
        if name not in table.columns:
            raise unknown("column", name, map(str, table.columns))
        table = table[_matching(table[name], wanted)]
    return table


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _chosen(
    table: pd.DataFrame, where: Mapping[str, Any], side: Mapping[str, Any], column: str
) -> pd.DataFrame:
    """The selected rows, with a number of every seed that was run.

    Raises:
        Unjudged: a run ended before the others or diverged, or a value is not finite. The
            remaining seeds would only be those that went well.
    """
    chosen = select(select(table, where), side)
    if chosen.empty:
        return chosen
    run = table
    for conditions in (where, side):
        named = {k: v for k, v in conditions.items() if k != "metric" and not _is_last(v)}
        run = select(run, named)
    if lost := {*run["seed"]} - {*chosen["seed"]}:
        raise Unjudged(f"no such value for seed {_listed(lost)}: did it diverge?")
    if odd := {*chosen.loc[~np.isfinite(chosen[column]), "seed"]}:
        raise Unjudged(f"{column} is not finite for seed {_listed(odd)}")
    return chosen


def _seeds(values: pd.Series) -> tuple[int, ...]:
    return tuple(map(int, values.index))


def _stated(row: Mapping[str, Any], words: Iterable[str]) -> str:
    """The one of these words that the row gives a value."""
    (stated,) = (word for word in words if row.get(word) is not None)
    return stated


def measure(row: Mapping[str, Any], table: pd.DataFrame) -> Measured | None:
    """The row's number, or None where the table lacks what it needs.

    Raises:
        BadInput: a column that the table does not have, or that holds no numbers.
        Unjudged: some seeds have no finite number.
    """
    numbers = [name for name in table.columns if is_numeric_dtype(table[name])]
    for statistic in STATISTICS:
        if row.get(statistic) not in (None, *numbers):
            raise unknown("column of numbers", row[statistic], map(str, numbers))
    kind = _stated(row, STATISTICS)
    column, where = row[kind], row["where"]

    def by_seed(side: Mapping[str, Any]) -> Any:
        return _chosen(table, where, side, column).groupby("seed")[column]

    if kind not in OF_SEEDS:
        extremes = by_seed({}).max() if kind == "largest" else by_seed({}).min()
        if extremes.empty:
            return None
        low, high = float(extremes.min()), float(extremes.max())
        return Measured(high if kind == "largest" else low, (low, high), _seeds(extremes))
    values = by_seed(row.get("of", {})).mean()
    if kind == "difference":
        values = (values - by_seed(row["minus"]).mean()).dropna()
    if len(values) < FEWEST_SEEDS:
        return None
    mean, low, high = t_interval(values.tolist())
    return Measured(mean, (low, high), _seeds(values))


def predicate(row: Mapping[str, Any]) -> tuple[str, float]:
    """The row's predicate in words, and its tolerance."""
    kind, bound = _stated(row, STATISTICS), _stated(row, BOUNDS)
    what = "mean over seeds, with its 95 % t interval," if kind in OF_SEEDS else kind
    sign = ">=" if bound == "at_least" else "<="
    return f"{what} {sign} {row[bound]:g}", row[bound]


def judge(name: str, claim: Mapping[str, Any], row: Mapping[str, Any], read: ReadTable) -> Row:
    """One row of the ledger; ``name`` such as ``C5.head``. Raises BadInput if the row names a
    column or condition that does not exist.
    """
    words, tolerance = predicate(row)
    table, scope, found = read(row["table"]), row["scope"], None
    try:
        found = None if table is None else measure(row, table)
    except Unjudged as why:
        scope = f"{scope} ({why})"
    except BadInput as error:
        raise BadInput(f"claim {name}, table {row['table']}: {error}") from error
    if found is not None and min(found.seeds) < FIRST_SEED:
        found, scope = None, f"{scope} (seeds below {FIRST_SEED} judge nothing)"
    verdict, undecided = NOT_RUN, False
    if found is not None:
        low, high = found.interval
        at_least = _stated(row, BOUNDS) == "at_least"
        holds = low >= tolerance if at_least else high <= tolerance
        verdict = REPRODUCED if holds else REFUTED
        undecided = _stated(row, STATISTICS) in OF_SEEDS and low < tolerance < high
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
        "verdict": verdict,
        "undecided": undecided,
        "scope": scope,
        "artifact": Paths(".").table(row["table"]),
        "figure": Paths(".").figure(row["figure"])[0],
    }


def counts(rows: Iterable[Row]) -> str:
    """How many of a claim's rows hold or are undecided, such as "3 of 8, 1 undecided"."""
    rows = list(rows)
    held = sum(row["verdict"] == REPRODUCED for row in rows)
    undecided = sum(row["undecided"] for row in rows)
    return f"{held} of {len(rows)}" + (f", {undecided} undecided" if undecided else "")


def overall(verdicts: list[str]) -> str:
    """The verdict on a claim from those on its rows."""
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return PARTLY if REPRODUCED in verdicts else REFUTED


def _summary(name: str, claim: Mapping[str, Any], rows: list[Row]) -> Row:
    """The row of the whole claim: how many of its own rows hold, and where."""
    held = [row for row in rows if row["verdict"] == REPRODUCED]
    verdict = overall([row["verdict"] for row in rows])
    words = (
        ("Holds", REPRODUCED, False),
        ("Does not", REFUTED, False),
        ("Undecided", REFUTED, True),
        ("Not run", NOT_RUN, False),
    )
    parts = {
        word: "; ".join(
            row["scope"] for row in rows if (row["verdict"], row["undecided"]) == (of, undecided)
        )
        for word, of, undecided in words
    }
    return {
        **rows[0],
        "id": name,
        "predicate": "share of its rows that hold = 1",
        "tolerance": 1.0,
        "value": len(held) / len(rows),
        "interval": None,
        "seeds": sorted({seed for row in rows for seed in row["seeds"]}),
        "verdict": verdict,
        "undecided": False,
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


def ledger(claims: Mapping[str, Any], read: ReadTable, proofs: Proofs) -> list[Row]:
    """Every claim's row, followed by the rows that refine it; raises BadInput if one names a
    column, condition or theorem that does not exist.
    """

    def rows() -> Iterator[Row]:
        for name, claim in claims.items():
            own = [judge(f"{name}.{part}", claim, row, read) for part, row in claim["rows"].items()]
            for row in (_summary(name, claim, own), *own):
                yield {**row, "proof": _proof(row, proofs)}

    return list(rows())
