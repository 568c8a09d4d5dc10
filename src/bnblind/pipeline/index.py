"""Step: the report's first page, from the abstract's sentences to figures and numbers."""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from bnblind.figures.classification import accuracy_table
from bnblind.figures.style import LOOKS
from bnblind.pipeline.collect import read_table
from bnblind.pipeline.files import publish
from bnblind.pipeline.pages import fill

Row = dict[str, str]

CONTROLS = ("bn_center", "bn_scale", "bn_affine", "bn_detached", "bn_frozen")


def _span(values: pd.Series) -> str:
    ends = dict.fromkeys((f"{values.min():.2g}", f"{values.max():.2g}"))
    return " to ".join(ends)


def theorem_statements(passing: pd.DataFrame) -> list[Row]:
    """What the theorem check measured for the abstract's sentences on the Taylor terms."""
    see = {"page": "pages/theorems.html", "see": "theorem check"}

    def share(norm: str, term: str, rows: pd.DataFrame = passing) -> pd.Series:
        return rows.loc[(rows["norm"] == norm) & (rows["term"] == term), "passing"]

    exact, with_eps = passing[passing["eps"] == 0], passing[passing["eps"] > 0]
    controls = [name for name in CONTROLS if name in set(passing["norm"])]
    parts = (
        f"{LOOKS[name].label}: {_span(share(name, 'first', exact))} and "
        f"{_span(share(name, 'diag', exact))}"
        for name in controls
    )
    return [
        {
            "claim": "BN keeps the first-order term of the loss from reaching the features "
            "before it.",
            "measured": f"Share of its gradient that passes BN: {_span(share('bn', 'first'))}; "
            f"LN: {_span(share('ln', 'first'))}.",
            **see,
        },
        {
            "claim": "BN keeps most of the second-order term from reaching them.",
            "measured": "Diagonal of the Hessian: "
            f"{_span(share('bn', 'diag', exact))} at eps = 0, "
            f"{_span(share('bn', 'diag', with_eps))} with eps. Off-diagonal part: "
            f"{_span(share('bn', 'offdiag'))}, so it is blocked only in part.",
            **see,
        },
        {
            "claim": "The standardization phase is the cause.",
            "measured": "Shares of the first-order term and of the Hessian's diagonal that pass "
            f"the controls at eps = 0. {'; '.join(parts)}.",
            **see,
        },
    ]


def classification_statement(results: pd.DataFrame) -> Row:
    """What training measured for the abstract's sentence on tasks with one analytic loss."""
    last = results[results["epoch"] == results["epoch"].max()]
    final = last[last["metric"] == "test.eval.accuracy"]
    means = final.groupby(["batching", "norm"], sort=False)["value"].agg(["mean", "min", "max"])
    parts = {
        batching: ", ".join(
            f"{LOOKS[norm].label} {row['mean']:.3f} ({row['min']:.3f} to {row['max']:.3f})"
            for norm, row in means.loc[batching].iterrows()
        )
        for batching in ("label", "random")
    }
    return {
        "claim": "BN harms features in tasks whose samples share one analytic loss.",
        "measured": f"Final test accuracy after training on label-pure batches: {parts['label']}; "
        f"on random batches: {parts['random']}.",
        "page": "pages/classification.html",
        "see": "classification",
    }


def grids(results: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry a (data set, model, learning rate), with its table as HTML."""
    return [
        {
            "dataset": dataset,
            "model": model,
            "lr": lr,
            "stem": f"classification/{dataset}-{model}-lr{lr}",
            "seeds": ", ".join(map(str, runs["seed"].unique())),
            "table": accuracy_table(runs).to_html(index=False, border=0),
        }
        for (dataset, model, lr), runs in results.groupby(["dataset", "model", "lr"])
    ]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="index", description=__doc__)
    parser.add_argument("--profile", required=True, help="name of the profile")
    parser.add_argument("--passing", type=Path, required=True, help="shares to read")
    parser.add_argument("--theorems", type=Path, required=True, help="deviations to read")
    parser.add_argument("--results", type=Path, required=True, help="training metrics to read")
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="to read")
    parser.add_argument("--index", type=Path, required=True, help="page to write")
    args = parser.parse_args(argv)

    results = read_table(args.results)
    deviations = json.loads(args.theorems.read_text())["largest_deviation"]
    listed = ", ".join(f"{name} {value:.1e}" for name, value in deviations.items())
    proofs = {
        "claim": "These are theorems.",
        "measured": "Largest deviation of autograd from their closed forms, as a share of the "
        f"unblocked gradient: {listed}.",
        "page": "pages/theorems.html",
        "see": "closed forms",
    }
    page = fill(
        "index.html.j2",
        profile=args.profile,
        statements=[
            *theorem_statements(read_table(args.passing)),
            proofs,
            classification_statement(results),
        ],
        grids=grids(results),
        datasets=[json.loads(path.read_text()) for path in args.manifests],
    )
    publish({args.index: page})
