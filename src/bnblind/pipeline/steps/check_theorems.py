"""Step: the theorem check, over all norms, losses and sizes of the configuration."""

import itertools
from typing import Any

import pandas as pd
import torch

from bnblind.experiments.theorem_check import Case, leak_by_channel, passing_by_term, theorem_errors
from bnblind.pipeline.formats.files import json_bytes, publish
from bnblind.pipeline.formats.tables import table_bytes
from bnblind.pipeline.options import parse


def cases(settings: dict[str, Any], norms: list[str]) -> list[Case]:
    axes = ("losses", "points", "batch_sizes", "dims", "eps", "seeds")
    return [Case(*values) for values in itertools.product(norms, *(settings[a] for a in axes))]


def passing_table(settings: dict[str, Any]) -> pd.DataFrame:
    """One row per (case, term): the share of the term's gradient that passes the norm."""
    return pd.DataFrame(
        [
            {**vars(case), "term": term, "passing": share}
            for case in cases(settings, settings["norms"])
            for term, share in passing_by_term(case).items()
        ]
    )


def errors_table(settings: dict[str, Any]) -> pd.DataFrame:
    """One row per (case of BN, theorem): deviation of autograd from the closed form."""
    return pd.DataFrame(
        [
            {**vars(case), "theorem": theorem, "error": error}
            for case in cases(settings, ["bn"])
            for theorem, error in theorem_errors(case).items()
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


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, settings="settings", file="passing errors leak metrics")
    passing, errors = passing_table(args.settings), errors_table(args.settings)
    largest = errors.groupby("theorem")["error"].max().to_dict()
    publish(
        {
            args.passing: table_bytes(passing),
            args.errors: table_bytes(errors),
            args.leak: table_bytes(leak_table(args.settings)),
            args.metrics: json_bytes({"largest_deviation": largest}),
        }
    )
    print(f"{len(passing)} shares, {len(errors)} deviations from closed forms, largest: {largest}")
