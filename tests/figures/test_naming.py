"""Orders, names and summaries that all figures and tables share."""

import pandas as pd
import pytest

from bnblind.experiments.batching import BATCHINGS
from bnblind.experiments.intervals import t_interval
from bnblind.figures.naming import (
    BATCH_TITLES,
    batch_title,
    batching_title,
    batchings_in,
    identity_in,
    in_order,
    in_runs,
    interval_text,
    networks_in,
    norms_in,
    rows_in_order,
    runs_of,
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
    """In the columns' usual order; a figure compares norms and batchings, and a network without a
    width is another one than one of any width.
    """
    table = pd.DataFrame(
        {
            "value": [1.0, 2.0, 3.0, 4.0],
            "norm": ["bn", "ln", "bn", "bn"],
            "lr": 0.1,
            "model": ["mlp", "mlp", "vgg11", "vgg11"],
            "dataset": "digits",
            "width": pd.array([None, None, 8, 16], dtype="Int64"),
        }
    )
    assert identity_in(table) == ["dataset", "model", "norm", "lr", "width"]
    (mlp, its_runs), (narrow, _), (wide, _) = networks_in(table)
    assert mlp == {"dataset": "digits", "model": "mlp", "lr": 0.1}
    assert narrow == mlp | {"model": "vgg11", "width": 8}
    assert wide == narrow | {"width": 16}
    assert its_runs["value"].tolist() == [1.0, 2.0]
    assert "width" not in its_runs
    assert runs_of(narrow, table)["value"].tolist() == [3.0]
    assert runs_of(mlp | {"lr": 1.0}, table).empty
    assert [len(runs) for _, runs in networks_in(table.drop(columns="width"))] == [2, 2]
    assert [len(runs) for _, runs in networks_in(table.assign(lr=range(4)), but="lr")] == [2, 1, 1]


def test_rows_follow_each_columns_own_order() -> None:
    """A name may stand in two columns, at another place in each."""
    table = pd.DataFrame({"a": ["x", "y", "y", "x"], "b": ["y", "x", "y", "x"], "n": range(4)})
    found = rows_in_order(table, {"a": ["y", "x"], "b": ["x", "y"]})
    assert found["n"].tolist() == [1, 2, 3, 0]
    assert found.index.tolist() == [0, 1, 2, 3]


def test_titles_are_of_registered_batchings_and_others_need_none() -> None:
    assert set(BATCH_TITLES) <= set(BATCHINGS)
    assert batching_title("label") == "trained on label-pure batches"
    assert batching_title("purity-0.9") == "trained on batches of purity 0.9"
    assert batch_title("foreign-1") == "batches with 1 sample of other classes"
    assert batch_title("sorted") == "sorted batches"


def test_an_interval_is_students_and_none_is_known_of_one_seed() -> None:
    values = pd.Series([0.5, 0.6, 0.7])
    _, low, high = t_interval([*values])
    assert interval_text(values) == f"0.600 ({low:.3f} to {high:.3f})"
    assert interval_text(values[:1], "+.1f") == "+0.5"


def test_tables_call_norms_batches_and_columns_as_the_figures_do() -> None:
    table = pd.DataFrame({"norm": ["bn"], "batching": ["label"], "lr": [0.1], "value": [1.0]})
    assert with_labels(table).to_dict("list") == {
        **{"norm": ["BN"], "batches": ["label-pure batches"]},
        **{"learning rate": [0.1], "value": [1.0]},
    }


@pytest.mark.parametrize(
    ("seeds", "told"),
    [((), ""), ((5,), "5"), ((51, 50, 50), "50 to 51"), ((30, 31, 32, 5, 50), "5, 30 to 32, 50")],
)
def test_seeds_are_told_by_the_ends_of_their_runs(seeds: tuple[int, ...], told: str) -> None:
    assert in_runs(seeds) == told
