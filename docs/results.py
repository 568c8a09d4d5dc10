"""The README's results, from a finished run: verdicts, accuracies, the flows' gaps.

python docs/results.py            writes them between the README's markers
python docs/results.py --check    exits with 1 if the README says anything else
"""

import json
import sys
from pathlib import Path

import pandas as pd

from bnblind.experiments.intervals import t_interval
from bnblind.figures.classification import MODEL_NOTES, last_epochs
from bnblind.figures.naming import spread
from bnblind.pipeline.ledger import counts

README = Path("README.md")
START, END = "<!-- results: made by docs/results.py -->\n", "<!-- end of results -->\n"
NORMS = {"none": "no norm", "bn": "BN", "ln": "LN"}
BATCHES = {
    "random": "random",
    "label": "label-pure",
    "label_shuffled": "label-pure, classes in random order",
}


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines] + [""]


def verdicts() -> list[str]:
    ledger = json.loads(Path("reports/claims.json").read_text())
    rows = []
    for claim in (row for row in ledger if "." not in row["id"]):
        own = [row for row in ledger if row["id"].startswith(f"{claim['id']}.")]
        rows.append([claim["id"], claim["claim"], f"**{claim['verdict']}**", counts(own)])
    return table(["", "claim", "verdict", "rows that hold"], rows)


def interval(values: pd.Series, digits: int) -> str:
    mean, low, high = t_interval(values.tolist())
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def accuracies() -> list[str]:
    runs = pd.read_parquet("data/results/classification.parquet")
    final = last_epochs(runs[runs["metric"] == "test.eval.accuracy"])
    rows = []
    for model in (name for name in MODEL_NOTES if name in set(final["model"])):
        for batching, words in BATCHES.items():
            chosen = final[(final["model"] == model) & (final["batching"] == batching)]
            if chosen.empty:
                continue
            by_norm = {norm: chosen.loc[chosen["norm"] == norm, "value"] for norm in NORMS}
            cells = [spread(values) if len(values) else "" for values in by_norm.values()]
            rows.append([f"`{model}`", words, *cells, str(chosen["seed"].nunique())])
    return table(["network", "batches", *NORMS.values(), "seeds"], rows)


def gaps() -> list[str]:
    runs = pd.read_parquet("data/results/flows.parquet")
    runs = runs[runs["coupling"] == "mlp"]
    rows = []
    for pair in runs["pair"].unique():
        for batching in ("label", "random"):
            for kind, words in (("plain", "running"), ("recalibrated", "recalibrated")):
                chosen = runs[(runs["pair"] == pair) & (runs["batching"] == batching)]
                chosen = chosen[chosen["metric"] == f"test.{kind}.gap"]
                cells = [interval(chosen.loc[chosen["norm"] == norm, "value"], 1) for norm in NORMS]
                rows.append([pair.replace("v", " and "), BATCHES[batching], words, *cells])
    return table(["digits", "batches", "statistics", *NORMS.values()], rows)


def section() -> str:
    lines = [
        *verdicts(),
        "Final test accuracy on scikit-learn's digits, evaluation mode, mean over the seeds",
        "(smallest to largest):",
        "",
        *accuracies(),
        "Flows (RealNVP, fully connected couplings) of two classes: log-likelihood of real test",
        "images minus that of half-and-half mixtures, nats an image, with BN's running statistics",
        "and with statistics recalibrated on mixed batches, mean over the seeds (95 % t interval):",
        "",
        *gaps(),
    ]
    return "\n".join(lines)


def main(*options: str) -> None:
    text = README.read_text()
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    new = before + START + "\n" + section() + END + after
    if "--check" not in options:
        README.write_text(new)
    elif new != text:
        raise SystemExit(
            "error: README.md's results are not this run's; `make pictures` writes them anew"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
