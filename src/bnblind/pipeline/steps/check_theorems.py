"""Step: the theorem check, over all norms, losses and sizes of the configuration."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import torch

from bnblind.experiments.theorem_check import (
    Case,
    leak_by_channel,
    passing_by_term,
    random_hessian_shares,
    theorem_errors,
)
from bnblind.pipeline.formats.files import json_bytes, publish
from bnblind.pipeline.formats.tables import table_bytes
from bnblind.pipeline.options import parse


def cases(settings: dict[str, Any], norms: list[str]) -> list[Case]:
    axes = ("losses", "points", "batch_sizes", "dims", "eps", "seeds")
    return [Case(*values) for values in itertools.product(norms, *(settings[a] for a in axes))]


def measured(
    cases: Iterable[Case], measure: Callable[[Case], dict[str, float]], *columns: str
) -> pd.DataFrame:
    """One row per case and number that ``measure`` gives; ``columns`` hold its name and itself."""
    return pd.DataFrame(
        [
            vars(case) | dict(zip(columns, item, strict=True))
            for case in cases
            for item in measure(case).items()
        ]
    )


def leak_table(settings: dict[str, Any]) -> pd.DataFrame:
    """One row per channel: T2's leak, measured and stated, at each positive eps."""
    leak = settings["leak"]
    stds = torch.logspace(-4, 1, leak["channels"], dtype=torch.float64)
    rows = [
        (eps, seed, *row)
        for eps in leak["eps"]
        for seed in settings["seeds"]
        for row in leak_by_channel(eps, stds, leak["batch_size"], seed)
    ]
    table = pd.DataFrame(rows, columns=["eps", "seed", "std", "measured", "stated"])
    return table.assign(relative_error=(table["measured"] / table["stated"] - 1).abs())


def hessians_table(settings: dict[str, Any]) -> pd.DataFrame:
    """Uncorrelated random Hessians: one row per kind of features, batch size, dimension, seed and
    term. ``independent``: what is expected of ``stated`` where features are independent.
    """
    axes = ("batch_sizes", "dims", "seeds")
    rows = [
        (features, n, dim, seed, term, *shares)
        for features, mixing in (("correlated", 0.5), ("independent", 0.0))
        for n, dim, seed in itertools.product(*(settings[axis] for axis in axes))
        for term, shares in random_hessian_shares(n, dim, seed, mixing).items()
    ]
    columns = ["features", "batch_size", "dim", "seed", "term", "passing", "stated"]
    table = pd.DataFrame(rows, columns=columns)
    diagonal = (1 - 1 / table["dim"]).where(table["term"] == "second", 1.0)
    independent = (1 - 1 / (table["batch_size"] - 1)) * diagonal
    return table.assign(
        relative_error=(table["passing"] / table["stated"] - 1).abs(),
        independent=independent,
        from_independent=(table["passing"] / independent - 1).abs(),
    )


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, settings="settings", file="passing errors leak hessians metrics")
    norms = args.settings["norms"]
    passing = measured(cases(args.settings, norms), passing_by_term, "term", "passing")
    errors = measured(cases(args.settings, ["bn"]), theorem_errors, "theorem", "error")
    largest = errors.groupby("theorem")["error"].max().to_dict()
    publish(
        {
            args.passing: table_bytes(passing),
            args.errors: table_bytes(errors),
            args.leak: table_bytes(leak_table(args.settings)),
            args.hessians: table_bytes(hessians_table(args.settings["hessians"])),
            args.metrics: json_bytes({"largest_deviation": largest}),
        }
    )
    print(f"{len(passing)} shares, {len(errors)} deviations from closed forms, largest: {largest}")
