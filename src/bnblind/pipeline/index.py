"""Step: the report's first page, from the abstract's sentences to figures and numbers."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from bnblind.figures.classification import accuracy_table, last_epochs
from bnblind.figures.style import CONTROLS, LOOKS, with_controls
from bnblind.pipeline.collect import read_table
from bnblind.pipeline.files import publish
from bnblind.pipeline.pages import fill

Row = dict[str, str]

# Networks in which only a linear layer follows the norm: the hypothesis of T6.
LINEAR_AFTER_NORM = ("head",)
THEOREMS_PAGE = {"page": "pages/theorems.html", "see": "theorem check"}


def _span(values: pd.Series) -> str:
    if values.empty:
        return "not in this profile"
    return " to ".join(dict.fromkeys((f"{values.min():.2g}", f"{values.max():.2g}")))


def theorem_statements(passing: pd.DataFrame) -> list[Row]:
    """What the theorem check measured for the abstract's sentences on the Taylor terms."""

    def share(norm: str, term: str, rows: pd.DataFrame = passing) -> str:
        return _span(rows.loc[(rows["norm"] == norm) & (rows["term"] == term), "passing"])

    exact, with_eps = passing[passing["eps"] == 0], passing[passing["eps"] > 0]
    at_zero = exact[exact["y0"] == "zero"]
    controls = "; ".join(
        f"{LOOKS[name].label}: {share(name, 'first', at_zero)} and {share(name, 'diag', at_zero)}"
        for name in CONTROLS
        if name in set(passing["norm"])
    )
    return [
        {
            "claim": "BN keeps the first-order term of the loss from reaching the features "
            "before it.",
            "measured": f"Share of its gradient that passes BN: {share('bn', 'first')}; "
            f"LN: {share('ln', 'first')}.",
            **THEOREMS_PAGE,
        },
        {
            "claim": "BN keeps most of the second-order term from reaching them.",
            "measured": f"Diagonal of the Hessian: {share('bn', 'diag', exact)} at eps = 0, "
            f"{share('bn', 'diag', with_eps)} with eps. Off-diagonal part: "
            f"{share('bn', 'offdiag')}.",
            **THEOREMS_PAGE,
        },
        {
            "claim": "The standardization phase is the cause, as to gradients.",
            "measured": "Shares of the first-order term and of the Hessian's diagonal that pass "
            f"the controls at eps = 0, expanded at 0. {controls}.",
            **THEOREMS_PAGE,
        },
    ]


def _accuracies(final: pd.DataFrame, batching: str) -> str:
    rows = final[final["batching"] == batching]
    by_norm = rows.groupby("norm", sort=False)["value"].agg(["mean", "min", "max"])
    return ", ".join(
        f"{LOOKS[str(norm)].label} {row['mean']:.3f} ({row['min']:.3f} to {row['max']:.3f})"
        for norm, row in by_norm.to_dict("index").items()
    )


def _final_accuracies(grid: dict[str, Any], last: pd.DataFrame) -> str:
    final = last[last["metric"] == "test.eval.accuracy"]
    measured = [
        f"{batching} batches: {_accuracies(final, batching)}"
        for batching in sorted(final["batching"].unique())
    ]
    return (
        f"Final test accuracy of {grid['model']} on {grid['dataset']} after {'; '.join(measured)}."
    )


def controls_statement(grid: dict[str, Any], controls: pd.DataFrame) -> Row:
    """What training the controls measured."""
    text = _final_accuracies(grid, last_epochs(controls))
    if grid["model"] in LINEAR_AFTER_NORM:
        text += (
            " Statistics outside the graph block no gradient, yet their forward pass still "
            "removes what the batch shares (T6)."
        )
    return {
        "claim": "The standardization phase is the cause, as to training.",
        "measured": text,
        "page": "pages/classification.html",
        "see": "classification",
    }


def training_statement(grid: dict[str, Any], runs: pd.DataFrame, classes: int) -> Row:
    """What training one grid measured for the sentence on tasks with one analytic loss."""
    last = last_epochs(with_controls(runs)[""])
    text = _final_accuracies(grid, last)
    pure = (last["norm"] == "bn") & (last["batching"] == "label")
    loss = last.loc[pure & (last["metric"] == "train.loss"), "value"]
    if grid["model"] in LINEAR_AFTER_NORM and not loss.empty:
        text += (
            f" On label batches BN's training loss ends at {loss.mean():.3f} nats, log "
            f"{classes} being {math.log(classes):.3f}: before a linear layer no weights bring it "
            "lower (T6), since the forward pass has already removed what the batch shares. So "
            "this does not tell blocked derivatives from that."
        )
    return {
        "claim": "BN harms features in tasks whose samples share one analytic loss. (Accuracy is "
        "measured here, not yet features.)",
        "measured": text,
        "page": "pages/classification.html",
        "see": "classification",
    }


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="index", description=__doc__)
    parser.add_argument("--profile", required=True, help="name of the profile")
    parser.add_argument("--passing", type=Path, required=True, help="shares to read")
    parser.add_argument("--theorems", type=Path, required=True, help="deviations to read")
    parser.add_argument("--results", type=Path, required=True, help="training metrics to read")
    parser.add_argument("--derivatives", required=True, help="grid whose terms to show")
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="to read")
    parser.add_argument("--index", type=Path, required=True, help="page to write")
    args = parser.parse_args(argv)

    manifests = [json.loads(path.read_text()) for path in args.manifests]
    classes = {manifest["dataset"]: manifest["classes"] for manifest in manifests}
    statements = theorem_statements(read_table(args.passing))
    grids = []
    for (dataset, model, lr), runs in read_table(args.results).groupby(["dataset", "model", "lr"]):
        grid = {
            "dataset": dataset,
            "model": model,
            "lr": lr,
            "stem": f"classification/{dataset}-{model}-lr{lr}",
            "seeds": ", ".join(map(str, runs["seed"].unique())),
            "table": accuracy_table(runs).to_html(index=False, border=0),
        }
        grids.append(grid)
        statements.append(training_statement(grid, runs, classes[dataset]))
        groups = with_controls(runs)
        if "-controls" in groups:
            statements.append(controls_statement(grid, groups["-controls"]))
    page = fill(
        "index.html.j2",
        profile=args.profile,
        statements=statements,
        deviations=json.loads(args.theorems.read_text())["largest_deviation"],
        grids=grids,
        derivatives=args.derivatives,
        datasets=manifests,
    )
    publish({args.index: page})
