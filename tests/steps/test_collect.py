"""The step ``collect``: one table of all cells in one order, and the figures it ends in."""

import json
from pathlib import Path

import pandas as pd
import pytest

from bnblind import BadInput
from bnblind.experiments.intervals import t_interval
from bnblind.experiments.networks import summary
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.pipeline.formats.tables import read_table, table_bytes
from bnblind.pipeline.steps import collect
from tests.steps.conftest import call, hashes


def collected(
    folder: Path, kind: str, cells: list[Path], **taken: list[Path]
) -> tuple[pd.DataFrame, dict]:
    made = {"table": folder / "table", "metrics": folder / "metrics"}
    call(collect, kind=kind, profile="mine", **{"cells": cells} if cells else {}, **taken, **made)
    return pd.read_parquet(folder / "table"), json.loads((folder / "metrics").read_text())


@pytest.mark.parametrize(
    ("kind", "norm", "told"),
    [
        (
            "networks",
            "bn",
            [
                *("dataset", "model", "norm", "batching", "lr", "loss", "init", "split", "augment"),
                *("precision", "execution"),
            ],
        ),
        ("flows", "ln", ["dataset", "pair", "coupling", "norm", "coupling_norm", "batching"]),
    ],
)
def test_cells_are_collected_in_one_order(
    kind: str, norm: str, told: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whatever the order they are given in; sorted by what tells rows apart."""
    own = request.getfixturevalue(kind) / "results"
    other = tmp_path / "other"
    other.write_bytes(table_bytes(pd.read_parquet(own).assign(norm=norm)))
    found = []
    for number, cells in enumerate(([own, other], [other, own])):
        (tmp_path / str(number)).mkdir()
        table, _ = collected(tmp_path / str(number), kind, cells)
        found.append(hashes(tmp_path / str(number)))
    assert found[0] == found[1]
    assert len(table) == 2 * len(pd.read_parquet(own))
    order = [*told, "seed", "epoch", "metric"]
    assert table.columns[: len(order)].tolist() == order
    assert table[order].equals(table[order].sort_values(order, ignore_index=True))
    assert set(table["norm"]) == {"bn", "ln"}


def test_every_row_says_which_profile_computed_it(networks: Path, tmp_path: Path) -> None:
    """And a run that another one has computed as well is refused."""
    own = networks / "results"
    theirs = tmp_path / "theirs.parquet"
    other = pd.read_parquet(own).assign(norm="bn", profile="others")
    theirs.write_bytes(table_bytes(other))
    table, metrics = collected(tmp_path, "networks", [own], taken=[theirs])
    assert table.groupby("norm")["profile"].unique().map(list).to_dict() == {
        "bn": ["others"],
        "ln": ["mine"],
    }
    assert "digits-head-bn-label-lr0.01" in metrics
    alone, _ = collected(tmp_path, "networks", [], taken=[theirs])
    assert set(alone["profile"]) == {"others"}
    theirs.write_bytes(table_bytes(pd.read_parquet(own).assign(profile="others")))
    with pytest.raises(BadInput, match="two grids hold the same run"):
        collected(tmp_path, "networks", [own], taken=[theirs])


def test_the_final_figures_of_networks_are_those_of_the_last_epoch(
    networks: Path, tmp_path: Path
) -> None:
    table, metrics = collected(tmp_path, "networks", [networks / "results"])
    last = table[(table["epoch"] == 2) & (table["metric"] == "test.eval.accuracy")]
    last = last[last["batching"] == "label"]["value"]
    assert len(last) == 2
    found = metrics["digits-head-ln-label-lr0.01"]["test.eval.accuracy"]
    assert found == pytest.approx({"mean": last.mean(), "min": last.min(), "max": last.max()})


def test_a_second_loss_leaves_the_names_of_the_first_ones_cells(
    networks: Path, tmp_path: Path
) -> None:
    own, other = networks / "results", tmp_path / "other"
    other.write_bytes(table_bytes(pd.read_parquet(own).assign(loss="squared_error")))
    alone = collected(tmp_path, "networks", [own])[1]
    table, metrics = collected(tmp_path, "networks", [own, other])
    assert set(table["loss"]) == {"cross_entropy", "squared_error"}
    assert set(metrics) == {*alone, *(f"{name}-squared_error" for name in alone)}
    assert {name: metrics[name] for name in alone} == alone


def test_the_final_figures_of_flows_have_intervals(flows: Path, tmp_path: Path) -> None:
    """Where there are several seeds."""
    table, metrics = collected(tmp_path, "flows", [flows / "results"])
    gaps = table[(table["metric"] == "test.plain.gap") & (table["pair"] == "9v8")]
    gaps = gaps["value"].tolist()
    assert len(gaps) == 2
    mean, low, high = t_interval(gaps)
    expected = {"mean": mean, "low": low, "high": high}
    assert metrics["digits-9v8-mlp-bn-none-label"]["test.plain.gap"] == pytest.approx(expected)
    assert metrics["digits-1v0-mlp-bn-none-label"]["test.plain.gap"].keys() == {"mean"}


@pytest.mark.parametrize(("kind", "norm"), [("networks", "ln"), ("flows", "bn")])
def test_a_run_that_comes_twice_is_refused(
    kind: str, norm: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    own = request.getfixturevalue(kind) / "results"
    with pytest.raises(BadInput, match=rf"two grids hold the same run: .*'norm': '{norm}'"):
        collected(tmp_path, kind, [own, own])
    assert not list(tmp_path.iterdir())


def test_what_only_some_cells_say_is_the_default_elsewhere() -> None:
    """A table of cells at a setting's default has no column for it; the joined one has."""
    row = {"dataset": "d", "model": "m", "norm": "bn", "batching": "label", "lr": 0.1, "seed": 1}
    row |= {"epoch": 1, "metric": "train.loss", "value": 2.0}
    plain, other = pd.DataFrame([row]), pd.DataFrame([row | {"loss": "hinge", "value": 3.0}])
    table = collect.joined([other, plain], NetworkCell)
    told = ["dataset", "model", "norm", "batching", "lr", "loss", "init", "split"]
    assert table.columns.tolist()[:8] == told
    assert table[["loss", "value"]].values.tolist() == [["cross_entropy", 2.0], ["hinge", 3.0]]
    alone = collect.joined([plain], NetworkCell)
    assert alone[["loss", "init", "split"]].values.tolist() == [
        ["cross_entropy", "torch", "prepared"]
    ]
    assert "weight_decay" not in alone  # has no default of its own


def test_a_width_that_only_some_networks_have_is_missing_elsewhere(tmp_path: Path) -> None:
    """And stays an integer, also in a file; the final figures know both networks."""
    row = {"dataset": "d", "model": "m", "norm": "bn", "batching": "label", "lr": 0.1, "seed": 1}
    row |= {"epoch": 1, "metric": "test.eval.accuracy", "value": 0.5}
    narrow = pd.DataFrame([row | {"model": "vgg11", "width": 8, "value": 0.7}])
    table = collect.joined([pd.DataFrame([row]), narrow], NetworkCell)
    (tmp_path / "t.parquet").write_bytes(table_bytes(table))
    for found in (table, read_table(tmp_path / "t.parquet")):
        assert found["width"].isna().tolist() == [True, False]
        assert [*found["width"].dropna()] == [8]
        assert str(found["width"].dtype) == "Int64"
    figures = collect.metrics(table, NetworkCell, summary)
    assert [name for name in figures if "width" in name] == [
        "d-vgg11-bn-label-lr0.1-width8",
    ]
    assert len(figures) == 2
