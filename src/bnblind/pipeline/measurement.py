"""The number of a claim's row: selected from a table of results, and taken of its seeds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from bnblind.errors import BadInput, unknown
from bnblind.experiments.intervals import t_interval
from bnblind.figures.naming import COLUMN_TITLES
from bnblind.figures.style import LOOKS
from bnblind.pipeline.configuration.claims_file import STATISTICS

FEWEST_SEEDS = 3
DIVERGED = {"metric": "diverged"}
OF_SEEDS = ("mean", "difference")
"""Statistics that are a mean over the seeds."""


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


def stated(row: Mapping[str, Any], words: Iterable[str]) -> str:
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
    kind = stated(row, STATISTICS)
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
