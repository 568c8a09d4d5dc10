"""The ledger: each claim's rows, judged by the tables of results.

A row of ``config/claims.yaml`` selects rows of a table, takes one number of them and compares it
with a tolerance. Nothing here knows a particular claim.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from bnblind.errors import BadInput, unknown
from bnblind.experiments.intervals import holm, one_sided_p, t_interval
from bnblind.figures.naming import COLUMN_TITLES
from bnblind.figures.style import LOOKS
from bnblind.pipeline.configuration.claims_file import BOUNDS, STATISTICS
from bnblind.pipeline.paths import Paths
from bnblind.pipeline.proofs_record import Proofs

REPRODUCED, PARTLY, REFUTED = "reproduced", "partly", "not reproduced"
UNDECIDED, NOT_RUN = "undecided", "not run"
VERDICTS = (REPRODUCED, REFUTED, UNDECIDED, NOT_RUN)
"""Of a row, in the order in which pages name them."""
FEWEST_SEEDS = 3
ONE_SIDED = 0.025
"""Level of the tests that correspond to the 95 % intervals, whose other side is not claimed."""
DIVERGED = {"metric": "diverged"}
OF_SEEDS = ("mean", "difference")
"""Statistics that are a mean over the seeds."""
FIRST_SEED = 30
"""Seeds below were seen while settings were chosen and claims written; they judge nothing."""

Row = dict[str, Any]
ReadTable = Callable[[str], pd.DataFrame | None]
"""Name of a table, such as ``theorems/passing`` -> the table, whose column ``profile`` says what
computed a row; None if the profile has none."""


class Unjudged(Exception):
    """A row has a table but no number to be judged by; the message says why."""


@dataclass(frozen=True)
class Measured:
    """A number read from a table.

    Attributes:
        interval: of a mean, the t interval; of a largest or smallest number, its range over seeds.
        values: those of the seeds, of which the number is the mean, the largest or the smallest.
        notes: what has to be known of how it came about.
        profiles: those that computed it.
    """

    value: float
    interval: tuple[float, float]
    seeds: tuple[int, ...]
    values: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selected:
    """The selected numbers by seed, notes on them, and the profiles that computed them."""

    by_seed: Any
    notes: list[str]
    profiles: set[str]


def _matching(column: pd.Series, wanted: Any) -> pd.Series:
    """Which entries satisfy a ``where`` condition: a value, ``last``, ``{last: k}`` or a bound
    (``chosen_by`` has been replaced by what it chooses).
    """
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
    """The rows of ``table`` that fulfil all conditions; ``last`` applies to what the others leave,
    ``kinks`` to the last ones: an earlier epoch does not stand in for one without a derivative.
    Raises BadInput for a column that the table does not have.
    """

    def order(condition: tuple[str, Any]) -> tuple[bool, bool]:
        return condition[0] == "kinks", _is_last(condition[1])

    for name, wanted in sorted(where.items(), key=order):
        if name not in table.columns:
            raise unknown("column", name, map(str, table.columns))
        table = table[_matching(table[name], wanted)]
    return table


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _best(table: pd.DataFrame, conditions: Mapping[str, Any], column: str, metric: str) -> Any:
    """The value of ``column`` with the largest mean of ``metric`` over the seeds and the selected
    epochs, of those that no run diverged at.

    Raises:
        Unjudged: there is none.
    """
    others = {name: wanted for name, wanted in conditions.items() if name != column}
    diverged = select(table, {k: v for k, v in others.items() if not _is_last(v)} | DIVERGED)
    rows = select(table, others | {"metric": metric})
    means = rows[~rows[column].isin(diverged[column])].groupby(column)["value"].mean()
    if means.empty:
        raise Unjudged(f"there is no {COLUMN_TITLES.get(column, column)} at which no run diverged")
    return means.idxmax()


def _decided(
    table: pd.DataFrame, conditions: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The conditions with the value that a ``chosen_by`` chooses in its place, and what was chosen;
    a value at the end of those that were tried is said to be at the edge.
    """
    decided, notes = dict(conditions), []
    for name, wanted in conditions.items():
        if isinstance(wanted, Mapping) and "chosen_by" in wanted:
            decided[name] = best = _best(table, conditions, name, wanted["chosen_by"])
            others = {k: v for k, v in conditions.items() if k not in (name, "metric")}
            tried = select(table, {k: v for k, v in others.items() if not _is_last(v)})[name]
            edge = ", at the edge" if best in (tried.min(), tried.max()) else ""
            norm = LOOKS[conditions["norm"]].label if "norm" in conditions else "all"
            notes.append(f"{norm}: {COLUMN_TITLES.get(name, name)} {best}{edge}")
    return decided, notes


def _by_seed(
    table: pd.DataFrame, row: Mapping[str, Any], side: Mapping[str, Any], column: str
) -> Selected:
    """The selected numbers, grouped by seed.

    Args:
        side: further conditions than the row's ``where``.

    Raises:
        Unjudged: a run ended before the others, or diverged and the row does not say as what that
            counts, or a value is not finite. The remaining seeds would only be those that went
            well.
    """
    conditions, notes = _decided(table, {**row["where"], **side})
    found = select(table, conditions)
    chosen, profiles = found[["seed", column]], {*found.get("profile", ())}
    kinks = "kinks" in conditions
    if kinks or not chosen.empty:
        apart = ("metric", "kinks")
        named = {k: v for k, v in conditions.items() if k not in apart and not _is_last(v)}
        run = select(table, named)
        if ended := {*select(run, DIVERGED)["seed"]} if "metric" in run else ():
            if row.get("diverged") is None:
                raise Unjudged(f"seed {_listed(ended)} diverged")
            counted = pd.DataFrame({"seed": sorted(ended), column: row["diverged"]})
            chosen = pd.concat([chosen[~chosen["seed"].isin(ended)], counted])
            notes.append(f"{len(ended)} diverged, each counted as {row['diverged']:g}")
        if lost := {*run["seed"]} - {*chosen["seed"]}:
            raise Unjudged(
                f"undefined for seed {_listed(lost)}: every point lies on a kink, as a ReLU's at 0"
                if kinks
                else f"no such value for seed {_listed(lost)}: did it diverge?"
            )
        if odd := {*chosen.loc[~np.isfinite(chosen[column]), "seed"]}:
            raise Unjudged(f"{column} is not finite for seed {_listed(odd)}")
    return Selected(chosen.groupby("seed")[column], notes, profiles)


def _seeds(values: pd.Series) -> tuple[int, ...]:
    return tuple(map(int, values.index))


def _stated(row: Mapping[str, Any], words: Iterable[str]) -> str:
    """The one of these words that the row gives a value."""
    (stated,) = (word for word in words if row.get(word) is not None)
    return stated


def _means(table: pd.DataFrame, row: Mapping[str, Any], sides: Any, column: str) -> Selected:
    """The mean of each seed; of several selections, the sum of their means."""
    sides = sides if isinstance(sides, list) else [sides]
    found = [_by_seed(table, row, side, column) for side in sides]
    values = pd.concat([part.by_seed.mean() for part in found], axis=1)
    return Selected(
        values.dropna().sum(axis=1),
        [note for part in found for note in part.notes],
        set().union(*(part.profiles for part in found)),
    )


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
    column = row[kind]
    if kind not in OF_SEEDS:
        found = _by_seed(table, row, row.get("of", {}), column)
        extremes = found.by_seed.max() if kind == "largest" else found.by_seed.min()
        if extremes.empty:
            return None
        low, high = float(extremes.min()), float(extremes.max())
        value, own = high if kind == "largest" else low, tuple(sorted(found.profiles))
        return Measured(value, (low, high), _seeds(extremes), tuple(extremes), (), own)
    means = _means(table, row, row.get("of", {}), column)
    values, notes, profiles = means.by_seed, means.notes, means.profiles
    if kind == "difference":
        others = _means(table, row, row["minus"], column)
        values = (values - others.by_seed).dropna()
        notes, profiles = notes + others.notes, profiles | others.profiles
    if len(values) < FEWEST_SEEDS:
        return None
    mean, low, high = t_interval(values.tolist())
    told = tuple(notes), tuple(sorted(profiles))
    return Measured(mean, (low, high), _seeds(values), tuple(values), *told)


def predicate(row: Mapping[str, Any]) -> tuple[str, float]:
    """The row's predicate in words, and its tolerance."""
    kind, bound = _stated(row, STATISTICS), _stated(row, BOUNDS)
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
    verdict = NOT_RUN
    if found is not None:
        if found.notes:
            scope = f"{scope} ({'; '.join(found.notes)})"
        low, high = found.interval
        at_least = _stated(row, BOUNDS) == "at_least"
        verdict = REPRODUCED if (low >= tolerance if at_least else high <= tolerance) else REFUTED
        if _stated(row, STATISTICS) in OF_SEEDS:
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
    2 not run"; those that a theorem settles apart, and those without a number beside the others.
    """
    rows = list(rows)
    told = []
    for kind, own in (
        ("theorem rows", [row for row in rows if row["theorem"]]),
        ("measured", [row for row in rows if not row["theorem"]]),
    ):
        held, undecided, missing = (
            sum(row["verdict"] == verdict for row in own)
            for verdict in (REPRODUCED, UNDECIDED, NOT_RUN)
        )
        if own:
            also = f", {undecided} undecided" if undecided else ""
            also += f", {missing} not run" if missing else ""
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
        "Not run": NOT_RUN,
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
