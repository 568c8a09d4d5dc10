"""Every number under README.md's "What was found" is the finished run's, to the digits printed.

`make test` leaves this folder out, since it needs the results of `make reproduce`; `make numbers`
and CI run it afterwards. Without those results it fails.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "data/results"
SECTION = (ROOT / "README.md").read_text().split("## What was found\n")[1].split("\n## ")[0]
NORMS = {"no norm": "none", "BN": "bn", "LN": "ln", "GN": "gn"}
BATCHINGS = {"random": "random", "label-pure": "label"}

# Not measured: conditions, a pair of digits, numbers within words.
CONDITION = re.compile(r"\b(?:eps|y0) [=>] 0|(?<![\d.])\d and \d(?![\d.])")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?")


def results(name: str) -> pd.DataFrame:
    path = RESULTS / f"{name}.parquet"
    assert path.is_file(), f"no {path.relative_to(ROOT)} to compare with; run `make reproduce`"
    return pd.read_parquet(path)


def numbers(text: str) -> list[str]:
    return NUMBER.findall(CONDITION.sub("", re.sub(r"\(\[.*?\]\(.*?\)\)", "", text)))


def rounds_to(value: float, printed: str) -> bool:
    """Whether ``value`` lies within half a unit of the last digit printed."""
    found = Decimal(printed)
    half = Decimal(5).scaleb(int(found.as_tuple().exponent) - 1)
    return abs(Decimal(float(value)) - found) <= half


def check(printed: list[str], values: list[float]) -> None:
    assert len(printed) == len(values), f"{printed} printed, measured {values}"
    wrong = [(p, v) for p, v in zip(printed, values, strict=True) if not rounds_to(v, p)]
    assert not wrong, f"printed and measured: {wrong}"


def table(first: str) -> dict[str, list[str]]:
    """Rows of the table whose header starts with ``first``: first cell -> the others."""
    lines = SECTION[SECTION.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: cells for name, *cells in (rows[0], *rows[2:])}


def span(values: pd.Series) -> list[float]:
    return [values.min(), values.max()]


def with_span(values: pd.Series) -> list[float]:
    return [values.mean(), *span(values)]


def passing(norm: str, *terms: str, **where: object) -> pd.Series:
    """Of the theorem check."""
    rows = results("theorems/passing")
    rows = rows[(rows["norm"] == norm) & rows["term"].isin(terms)]
    for key, value in where.items():
        rows = rows[rows[key] == value]
    return rows["passing"]


def final(norm: str, batching: str, model: str = "head", tested: str = "eval") -> pd.Series:
    """Accuracies of every seed after the last epoch."""
    rows = results("classification")
    rows = rows[(rows["dataset"] == "digits") & (rows["model"] == model) & (rows["lr"] == 0.01)]
    rows = rows[(rows["norm"] == norm) & (rows["batching"] == batching)]
    rows = rows[rows["metric"] == f"test.{tested}.accuracy"]
    return rows.loc[rows["epoch"] == rows["epoch"].max(), "value"]


def arriving(trained: str, probed: str, epoch: int | None = None) -> float:
    """Mean share of the squared gradient that passes the BN of `head`; by default at the end."""
    rows = results("derivatives/digits-head-blocked")
    rows = rows[(rows["norm"] == "bn") & (rows["batching"] == trained) & (rows["probed"] == probed)]
    chosen = rows["epoch"] == (rows["epoch"].max() if epoch is None else epoch)
    return rows.loc[chosen, "passing"].mean()


def in_conv(term: str) -> list[float]:
    """The same of a term at each BN of `conv`, trained and probed on label-pure batches."""
    rows = results("derivatives/digits-conv-terms")
    rows = rows[(rows["norm"] == "bn") & (rows["batching"] == "label") & (rows["kinks"] == 0)]
    rows = rows[(rows["probed"] == "label") & (rows["epoch"] == rows["epoch"].max())]
    return rows.groupby("layer", sort=False)[f"passing.{term}"].mean().tolist()


def gap(norm: str, pair: str, statistics: str = "plain") -> float:
    """Mean over seeds of real minus half-mixed log-likelihood, after label-pure batches."""
    rows = results("flows")
    rows = rows[(rows["norm"] == norm) & (rows["pair"] == pair) & (rows["batching"] == "label")]
    return rows.loc[rows["metric"] == f"test.{statistics}.gap", "value"].mean()


CLAIMS: dict[str, Callable[[], list[float]]] = {
    "BN blocks the first-order term": lambda: [passing("bn", "first").max()],
    "BN blocks the Hessian's diagonal": lambda: [],
    "BN blocks the off-diagonal part": lambda: span(passing("bn", "offdiag")),
    "standardization is the cause (gradients)": lambda: span(
        passing("bn_scale", "first", "diag", "offdiag", y0="zero")
    ),
    "in a trained network": lambda: [
        arriving("label", "label", epoch=0),
        arriving("label", "label"),
        arriving("random", "label"),
        arriving("label", "random", epoch=0),
        arriving("label", "random"),
        arriving("random", "random"),
    ],
    "in a convolutional network": lambda: [*in_conv("first"), *in_conv("total")],
    "BN harms training when a batch shares one loss": lambda: [
        final(norm, batching).mean()
        for batching, norm in (
            ("label", "bn"),
            ("label", "none"),
            ("random", "bn"),
            ("random", "none"),
        )
    ],
    "standardization is the cause (training)": lambda: [
        final(norm, "label").mean() for norm in ("bn_frozen", "bn_detached", "bn_center")
    ],
    "a flow with BN fails to tell real from mixed images where LN does": lambda: [
        gap("bn", "9v8"),
        gap("bn", "1v0"),
        gap("ln", "9v8"),
        gap("ln", "1v0"),
        gap("bn", "9v8", "recalibrated"),
        gap("bn", "1v0", "recalibrated"),
    ],
}
# Sentences below the tables; their gaps are the numbers.
SENTENCES: dict[str, Callable[[], list[float]]] = {
    r"one of its seeds ends at (\S+)\.": lambda: [final("ln", "label").min()],
    r"means of (\S+) \(this one\)": lambda: [final("ln", "label").mean()],
    r"falls to (\S+) \((\S+) to (\S+)\) when .* label-pure batches \((\S+) on random ones\)": (
        lambda: [
            *with_span(final("bn", "random", tested="label")),
            final("bn", "random", tested="random").mean(),
        ]
    ),
    r"at 0\.01 BN ends at (\S+) and LN at ([\d.]+\d)": lambda: [
        final(norm, "label", model="conv").mean() for norm in ("bn", "ln")
    ],
}


def test_the_table_of_claims_has_no_other_rows() -> None:
    assert [*table("claim")][1:] == [*CLAIMS]


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_was_measured_of_a_claim(claim: str) -> None:
    (measured,) = table("claim")[claim]
    check(numbers(measured), CLAIMS[claim]())


@pytest.mark.parametrize("batching", BATCHINGS)
def test_final_accuracies(batching: str) -> None:
    header, row = table("batches")["batches"], table("batches")[batching]
    assert header == [*NORMS]
    for name, cell in zip(header, row, strict=True):
        check(numbers(cell), with_span(final(NORMS[name], BATCHINGS[batching])))


def test_seeds_of_the_final_accuracies() -> None:
    said = re.search(r"mean over seeds ([\d, andto]+)", SECTION)
    assert said is not None
    named = [int(number) for number in re.findall(r"\d+", said[1])]
    rows = results("classification")
    rows = rows[(rows["model"] == "head") & rows["batching"].isin(BATCHINGS.values())]
    assert set(rows["seed"]) == set(range(min(named), max(named) + 1))


@pytest.mark.parametrize("sentence", SENTENCES)
def test_numbers_below_the_tables(sentence: str) -> None:
    found = re.findall(sentence, " ".join(SECTION.split()))
    assert len(found) == 1, f"README.md says {sentence!r} {len(found)} times"
    printed = [found[0]] if isinstance(found[0], str) else list(found[0])
    check(printed, SENTENCES[sentence]())
