"""How the ledger takes numbers of seeds together: sums, chosen rates, runs that diverged, Holm."""

import pandas as pd
import pytest

from bnblind.pipeline.ledger import corrected, judge
from bnblind.pipeline.measurement import measure
from tests.helpers.ledger import CLAIM, accuracies, row, verdict


def test_holms_correction_asks_more_of_the_weakest_row():
    """By hand: p = .02 holds alone; beside a row of p = .015, the smaller p must be <= .0125."""
    rows = [
        {"id": "C1.a", "p": 0.02, "theorem": [], "verdict": "reproduced"},
        {"id": "C1.b", "p": 0.015, "theorem": [], "verdict": "not reproduced"},
        {"id": "C1.c", "p": None, "theorem": [], "verdict": "reproduced"},
        {"id": "C1.d", "p": 0.0, "theorem": ["T1"], "verdict": "reproduced"},
    ]
    assert corrected(rows[:1]) == {"C1.a": "reproduced"}
    assert corrected(rows) == {"C1.a": "undecided", "C1.b": "undecided"}
    rows[1]["p"] = 0.01
    assert corrected(rows) == {"C1.a": "reproduced", "C1.b": "not reproduced"}


def test_a_run_that_diverged_counts_as_the_row_says():
    """Seed 33 of LN diverged in epoch 1: with its .1 the mean difference is (.8 + .7 + .8) / 4."""
    table = accuracies(ln=[0.9, 0.8, 0.9, 0.9], bn=[0.1] * 4).assign(metric="accuracy")
    lost = (table["norm"] == "ln") & (table["seed"] == 33) & (table["epoch"] == 2)
    mark = {"norm": "ln", "seed": 33, "epoch": 1, "value": 1.0, "metric": "diverged"}
    table = pd.concat([table[~lost], pd.DataFrame([mark])], ignore_index=True)
    where = {"epoch": "last", "metric": "accuracy"}
    found = judge("C1.x", CLAIM, row(where=where, diverged=0.1), lambda name: table)
    assert found["value"] == pytest.approx(0.575)
    assert found["scope"].endswith("(1 diverged, each counted as 0.1)")
    unsaid = judge("C1.x", CLAIM, row(where=where), lambda name: table)
    assert (unsaid["verdict"], unsaid["scope"]) == ("without a number", "here (seed 33 diverged)")


def test_a_run_that_diverged_late_is_no_mean_of_its_earlier_epochs():
    """LN's seed 33 diverged in epoch 3, so of the last two it has one."""
    table = pd.concat(
        [accuracies(ln=[0.9] * 4, bn=[0.1] * 4).assign(metric="accuracy"),
         accuracies(ln=[0.9] * 3, bn=[0.1] * 4).assign(metric="accuracy", epoch=3, value=0.5)]
    ).drop_duplicates(["norm", "seed", "epoch"])  # fmt: skip
    mark = {"norm": "ln", "seed": 33, "epoch": 3, "value": 1.0, "metric": "diverged"}
    table = pd.concat([table, pd.DataFrame([mark])], ignore_index=True)
    where = {"epoch": {"last": 2}, "metric": "accuracy"}
    assert verdict(row(where=where), table) == "without a number"
    assert judge("C1.x", CLAIM, row(where=where, diverged=0.1), lambda name: table)["value"]


def test_a_difference_of_differences():
    """(LN 1 - BN 1) - (LN 2 - BN 2) by hand: (.9 - .2) - (.8 - .7) = .6 for every seed."""
    values = {("ln", 1): 0.9, ("bn", 1): 0.2, ("ln", 2): 0.8, ("bn", 2): 0.7}
    rows = [
        {"norm": norm, "kind": kind, "seed": seed, "epoch": 1, "value": value}
        for (norm, kind), value in values.items()
        for seed in (50, 51, 52)
    ]
    sides = {
        "of": [{"norm": "ln", "kind": 1}, {"norm": "bn", "kind": 2}],
        "minus": [{"norm": "bn", "kind": 1}, {"norm": "ln", "kind": 2}],
    }
    assert measure(row(**sides), pd.DataFrame(rows)).value == pytest.approx(0.6)


def test_a_rate_is_chosen_by_validation_for_each_side_apart():
    """Validation picks rate 2 for LN (inside), and 3 for BN, at the edge; at 1 BN diverged."""
    rows = [
        {"norm": norm, "seed": seed, "lr": lr, "epoch": 1, "metric": metric, "value": value}
        for norm, by_rate in {
            "ln": {1: (0.3, 0.9), 2: (0.8, 0.7), 3: (0.5, 0.9)},
            "bn": {1: (0.9, 0.9), 2: (0.1, 0.6), 3: (0.2, 0.2)},
        }.items()
        for lr, values in by_rate.items()
        for metric, value in zip(("validation", "test"), values, strict=True)
        for seed in (50, 51, 52)
    ]
    ended = {"norm": "bn", "seed": 50, "lr": 1, "epoch": 1, "metric": "diverged", "value": 1.0}
    table = pd.DataFrame([*rows, ended])
    where = {"epoch": "last", "metric": "test", "lr": {"chosen_by": "validation"}}
    found = judge("C1.x", CLAIM, row(where=where), lambda name: table)
    assert found["value"] == pytest.approx(0.5)
    assert found["scope"].endswith("(LN: learning rate 2; BN: learning rate 3, at the edge)")
    lost = [{**ended, "lr": lr} for lr in (2, 3)]
    table = pd.concat([table, pd.DataFrame(lost)], ignore_index=True)
    found = judge("C1.x", CLAIM, row(where=where, diverged=0.1), lambda name: table)
    assert found["verdict"] == "without a number"
    assert found["scope"].endswith("(there is no learning rate at which no run diverged)")
