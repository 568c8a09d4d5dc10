"""The page on where the claims hold: its tables and its figure, from small tables."""

import pandas as pd
import pytest

from bnblind.experiments.intervals import t_interval
from bnblind.figures.scope import (
    erasure_figure,
    erasure_table,
    gaps_table,
    modes_table,
    rates_table,
)

HEAD = {"dataset": "digits", "model": "head", "lr": 0.01}


def runs(norm: str, batching: str, values: dict[str, list[float]], **changes) -> list[dict]:
    """Metric -> value of each seed from 30 on, at epoch 2; at epoch 1 everything is 9."""
    cell = HEAD | {"norm": norm, "batching": batching} | changes
    return [
        cell | {"seed": 30 + i, "epoch": epoch, "metric": metric, "value": at}
        for metric, found in values.items()
        for i, value in enumerate(found)
        for epoch, at in ((1, 9.0), (2, value))
    ]


def splits(norm: str, *shares: float, **changes) -> list[dict]:
    """Two batches per seed, label-pure, epoch 2."""
    row = HEAD | {"norm": norm, "batching": "label", "probed": "label", "epoch": 2, "kinks": 0}
    return [
        row | {"seed": 30 + i, "batch": batch, "passing.first": share + offset} | changes
        for i, share in enumerate(shares)
        for batch, offset in ((0, -0.01), (1, 0.01))
    ]


TERMS = pd.DataFrame(
    [
        *splits("bn", 0.01, 0.01),
        *splits("ln", 0.2, 0.4),
        # What is not of the label-pure end of training, or undefined, does not count.
        *splits("ln", 0.9, 0.9, epoch=1),
        *splits("ln", 0.9, 0.9, probed="random"),
        *splits("ln", 0.9, 0.9, batching="random"),
        *splits("ln", 0.9, 0.9, kinks=3),
    ]
)
RESULTS = pd.DataFrame(
    [
        *runs("bn", "label", {"train.loss": [2.3, 2.4], "test.eval.accuracy": [0.1, 0.2]}),
        *runs("ln", "label", {"train.loss": [0.3, 0.4], "test.eval.accuracy": [0.9, 0.8]}),
        *runs("ln", "random", {"train.loss": [0.1, 0.1], "test.eval.accuracy": [0.99, 0.99]}),
        *runs("bn", "label", {"test.eval.accuracy": [0.5]}, model="mlp"),
    ]
)


def test_erasure_pairs_each_network_with_what_its_norm_blocks() -> None:
    table = erasure_table(TERMS, RESULTS)
    assert table.columns.tolist() == ["norm", "seed", "passing", "loss", "accuracy"]
    found = table.set_index(["norm", "seed"]).sort_index()
    assert found.loc[("ln", 31)].tolist() == pytest.approx([0.4, 0.4, 0.8])
    assert found.loc[("bn", 30)].tolist() == pytest.approx([0.01, 2.3, 0.1])
    assert len(found) == 4


def test_the_figure_has_the_norms_in_order_of_what_passes() -> None:
    figure, drawn = erasure_figure(erasure_table(TERMS, RESULTS), 10)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.30"]
    points = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()[:2]}
    assert points == {"BN": [[0, 0.1], [0, 0.2]], "LN": [[1, 0.9], [1, 0.8]]}
    assert len(drawn) == 4
    empty, _ = erasure_figure(erasure_table(TERMS[:0], RESULTS), 10)
    assert len(empty.axes) == 1, "a profile without `head` has nothing to show"


def test_modes_are_those_of_bn_at_the_last_epoch() -> None:
    names = [f"test.{mode}.accuracy" for mode in ("eval", "random", "label")]
    values = dict(zip(names, ([0.5, 0.7], [0.6, 0.6], [1.0, 1.0]), strict=True))
    table = modes_table(
        pd.DataFrame([*runs("bn", "label", values), *runs("ln", "label", values, lr=1)])
    )
    shown = ["0.600 (0.500 to 0.700)", "0.600 (0.600 to 0.600)", "1.000 (1.000 to 1.000)"]
    assert table.values.tolist() == [["digits", "head", 0.01, "label", *shown]]


def test_rates_stand_beside_the_grids_own() -> None:
    rates = pd.DataFrame(runs("bn", "label", {"test.eval.accuracy": [0.3]}, lr=0.1))
    table = rates_table(rates, RESULTS)
    assert table[["lr", "BN"]].values.tolist() == [
        [0.01, "0.150 (0.100 to 0.200)"],
        [0.1, "0.300 (0.300 to 0.300)"],
    ]
    assert set(table["model"]) == {"head"}


def test_gaps_come_with_their_t_interval() -> None:
    values = [1.0, 2.0, 4.0]
    cell = {
        "coupling": "mlp",
        "coupling_norm": "scalar",
        "pair": "9v8",
        "batching": "label",
        "norm": "bn",
    }
    rows = [
        cell | {"metric": f"test.{kind}.gap", "value": value}
        for kind in ("plain", "recalibrated")
        for value in values
    ]
    (row,) = gaps_table(pd.DataFrame(rows)).to_dict("records")
    assert row["running statistics"] == "{:.1f} ({:.1f} to {:.1f})".format(*t_interval(values))
    assert row["norm"] == "BN"
    others = [own | {"coupling_norm": "none", "value": -own["value"]} for own in rows]
    both = gaps_table(pd.DataFrame([*rows, *others])).to_dict("records")
    assert row in both, "couplings are not averaged"
    assert len(both) == 2
