"""Orders, names and summaries that all figures and tables share."""

import pandas as pd

from bnblind.experiments.batching import BATCHINGS
from bnblind.figures.naming import (
    BATCH_TITLES,
    batching_title,
    batchings_in,
    comparison_in,
    identity_in,
    in_order,
    norms_in,
    rows_in_order,
    spread,
    with_labels,
)


def test_known_names_come_first_in_their_order_then_others_by_name() -> None:
    assert in_order(["z", "b", "a", "b", "k"], ["k", "none", "b"]) == ["k", "b", "a", "z"]


def test_norms_and_batchings_for_any_order_of_the_rows() -> None:
    table = pd.DataFrame(
        {"norm": ["ln", "bn", "none"], "batching": ["purity-0.5", "label", "random"]}
    )
    assert norms_in(table) == ["none", "bn", "ln"]
    assert batchings_in(table) == ["random", "label", "purity-0.5"]
    assert with_labels(table)["norm"].tolist() == ["LN", "BN", "none"]
    assert table["norm"].tolist() == ["ln", "bn", "none"]


def test_what_tells_networks_apart_is_what_the_table_has_of_it() -> None:
    """In the columns' usual order; a figure compares norms and batchings."""
    columns = ["value", "lr", "loss", "seed", "batching", "norm", "model", "dataset", "epoch"]
    table = pd.DataFrame(columns=columns)
    assert identity_in(table) == ["dataset", "model", "norm", "batching", "lr", "loss"]
    assert comparison_in(table) == ["dataset", "model", "lr", "loss"]
    fewer = table.drop(columns=["loss", "model"])
    assert identity_in(fewer) == ["dataset", "norm", "batching", "lr"]
    assert comparison_in(fewer) == ["dataset", "lr"]


def test_rows_follow_each_columns_own_order() -> None:
    """A name may stand in two columns, at another place in each."""
    table = pd.DataFrame({"a": ["x", "y", "y", "x"], "b": ["y", "x", "y", "x"], "n": range(4)})
    found = rows_in_order(table, {"a": ["y", "x"], "b": ["x", "y"]})
    assert found["n"].tolist() == [1, 2, 3, 0]
    assert found.index.tolist() == [0, 1, 2, 3]


def test_titles_are_of_registered_batchings_and_others_need_none() -> None:
    assert set(BATCH_TITLES) <= set(BATCHINGS)
    assert batching_title("label") == "trained on label-pure batches"
    assert batching_title("purity-0.9") == "trained on purity-0.9 batches"


def test_a_spread_is_mean_smallest_and_largest() -> None:
    assert spread(pd.Series([0.1, 0.2, 0.6])) == "0.300 (0.100 to 0.600)"
    assert spread(pd.Series([1.0, 2.0]), ".1f") == "1.5 (1.0 to 2.0)"
