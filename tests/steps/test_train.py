"""The step ``train`` on real data: what a job of networks and one of flows writes, and that a
wrong input leaves what was there before.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bnblind import BadInput
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks import kind
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.training import NetworkTrainer
from bnblind.pipeline.checkpoint import Checkpoint
from bnblind.pipeline.formats.tensors import read_tensors
from bnblind.pipeline.formats.weights import kept_networks
from bnblind.pipeline.steps import train
from tests.helpers.training import finished
from tests.steps.conftest import FLOWS, NETWORK, NETWORKS, hashes, train_in


def test_results_of_networks_are_long_and_tidy(networks: Path) -> None:
    """One row per (dataset, model, norm, batching, lr, seed, epoch, metric)."""
    table = pd.read_parquet(networks / "results")
    told = ["dataset", "model", "norm", "batching", "lr", "seed", "epoch", "metric"]
    assert table.columns.tolist() == [*told, "value", "batch_order"]
    assert not table.duplicated(told).any()
    assert set(table["epoch"]) == {0, 1, 2}
    assert table["value"].notna().all()
    runs = table[["norm", "batching", "lr", "seed"]].drop_duplicates().values.tolist()
    assert runs == [["ln", "label", 0.01, 4], ["ln", "label", 0.01, 3], ["ln", "random", 0.01, 3]]


def test_results_of_flows_are_long_and_tidy(flows: Path) -> None:
    """One row per (cell, seed, epoch, metric, share); the share is there for mixtures only."""
    table = pd.read_parquet(flows / "results")
    cell = ["dataset", "pair", "coupling", "norm", "coupling_norm", "batching"]
    told = [*cell, "seed", "epoch", "metric", "share"]
    assert table.columns.tolist() == [*told, "value"]
    assert not table.duplicated(told).any()
    assert table[cell].drop_duplicates().values.tolist() == [
        ["digits", pair, "mlp", "bn", "none", "label"] for pair in ("9v8", "1v0")
    ]
    assert table.groupby("pair")["seed"].unique().map(list).to_dict() == {"9v8": [4, 3], "1v0": [4]}
    mixtures = table["metric"].str.contains("mixed|gap|auc")
    assert table.loc[mixtures, "share"].notna().all()
    assert table.loc[~mixtures, "share"].isna().all()
    curve = table[(table["metric"] == "test.plain.mixed.mean") & (table["seed"] == 3)]
    assert curve["share"].tolist() == pytest.approx([i / 10 for i in range(11)])


def test_weights_are_named_by_cell_seed_and_epoch(networks: Path) -> None:
    tensors, description = read_tensors(networks / "weights")
    label = {f"label-lr0.01/seed{seed}/epoch{epoch:03d}" for seed in (4, 3) for epoch in (0, 1, 2)}
    random = {f"random-lr0.01/seed3/epoch{epoch:03d}" for epoch in (0, 2)}
    assert {name.rsplit("/", 1)[0] for name in tensors} == label | random
    assert tensors["label-lr0.01/seed4/epoch000/1.weight"].shape == (128, 64)
    assert [cell["batching"] for cell in description["cells"]] == ["label", "random"]
    assert description["cells"][0]["optimizer"] == NETWORK["optimizer"]


def test_weights_of_flows_are_the_best_epochs_and_samples_of_both_kinds(flows: Path) -> None:
    table = pd.read_parquet(flows / "results")
    weights, description = read_tensors(flows / "weights")
    best = {}
    judged = table[table["metric"] == "validation.log_likelihood"]
    for (pair, seed), rows in judged.groupby(["pair", "seed"]):
        best[f"{pair}-label/seed{seed}"] = rows.set_index("epoch")["value"].idxmax()
    assert {name.rsplit("/", 1)[0] for name in weights} == {
        f"{run}/epoch{epoch:03d}" for run, epoch in best.items()
    }
    assert [cell["pair"] for cell in description["cells"]] == [[9, 8], [1, 0]]
    samples, description = read_tensors(flows / "samples")
    assert set(samples) == {f"{run}/{kind}" for run in best for kind in ("plain", "recalibrated")}
    assert {key: cell["pair"] for key, cell in description["cells"].items()} == {
        "9v8-label": "9v8",
        "1v0-label": "1v0",
    }


def test_each_network_of_a_job_is_trained_as_if_alone(networks: Path, digits: Dataset) -> None:
    """And its weights are read back as its own."""
    cell = NetworkCell.from_settings(NETWORKS[1])
    alone = finished(NetworkTrainer(cell, 3, digits)).weights
    kept = [*kept_networks(networks / "weights")]
    assert [(row["batching"], row["seed"], row["epoch"]) for row, *_ in kept] == [
        *[("label", seed, epoch) for seed in (3, 4) for epoch in (0, 1, 2)],
        *[("random", 3, epoch) for epoch in (0, 2)],
    ]
    for row, found, weights in kept[-2:]:
        assert found == cell
        assert weights.keys() == alone[row["epoch"]].keys()
        assert all(torch.equal(weights[name], alone[row["epoch"]][name]) for name in weights)


def test_each_flow_of_a_job_is_trained_as_if_alone(
    flows: Path, prepared: Path, tmp_path: Path
) -> None:
    train_in(tmp_path, "flows", FLOWS[1:], "weights", "samples", prepared=prepared)
    for name in ("weights", "samples"):
        together, _ = read_tensors(flows / name)
        alone, _ = read_tensors(tmp_path / name)
        assert alone
        for key, tensor in alone.items():
            assert torch.equal(tensor, together[key])


@pytest.mark.parametrize(
    ("kind", "wrong", "found"),
    [
        ("networks", {"model": "x"}, "unknown model 'x'"),
        ("networks", {"norm": "x"}, "unknown norm 'x'"),
        ("networks", {"epoch": 3}, "a cell needs the settings .* found .*'epoch'"),
        ("flows", {"coupling_norm": "x"}, "unknown coupling norm 'x'"),
    ],
)
def test_a_refused_cell_leaves_earlier_results(
    kind: str, wrong: dict[str, Any], found: str, prepared: Path, request: pytest.FixtureRequest
) -> None:
    folder, cells = request.getfixturevalue(kind), {"networks": NETWORKS, "flows": FLOWS}[kind]
    before = hashes(folder)
    with pytest.raises(BadInput, match=found):
        train_in(folder, kind, [{**cells[0], **wrong}], "weights", prepared=prepared)
    assert hashes(folder) == before


@pytest.mark.parametrize("kind", ["networks", "flows"])
def test_a_truncated_data_file_leaves_earlier_results(
    kind: str, prepared: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, cells = request.getfixturevalue(kind), {"networks": NETWORKS, "flows": FLOWS}[kind]
    truncated = tmp_path / "truncated"
    truncated.write_bytes(prepared.read_bytes()[:1000])
    before = hashes(folder)
    with pytest.raises(BadInput, match="truncated was altered or cut off: found 1000 bytes"):
        train_in(folder, kind, cells, "weights", prepared=truncated)
    assert hashes(folder) == before


def test_a_job_that_keeps_no_weights_writes_its_results_and_what_bn_blocks(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a sweep: results alone, measured on batches of the cell's own batching. What it would
    have gone on from is gone.
    """
    monkeypatch.setattr(Checkpoint, "save_if_due", Checkpoint.save)
    shared = NETWORK | {"norm": "bn", "batch_size": 32, "epochs": 1, "seeds": [1], "snapshots": []}
    swept = [shared | {"batching": f"purity-{p}", "probed": 4} for p in ("0.5", "1")]
    train_in(tmp_path, "networks", swept, prepared=prepared)
    table = pd.read_parquet(tmp_path / "results")
    assert not table.duplicated(["batching", "seed", "epoch", "metric"]).any()
    passing = table[table["metric"] == "4.passing"].set_index(["batching", "epoch"])["value"]
    assert set(passing.index) == {(f"purity-{p}", e) for p in ("0.5", "1") for e in (0, 1)}
    assert passing["purity-1", 0] < passing["purity-0.5", 0]
    assert table.groupby("batching")["batch_order"].nunique().eq(1).all()
    assert table["batch_order"].nunique() == 2
    assert {path.name for path in tmp_path.iterdir()} == {"results", "checkpoint.lock"}


def test_a_diverged_run_is_noted(prepared: Path, tmp_path: Path) -> None:
    diverging = NETWORK | {"norm": "none", "lr": 1e30, "may_diverge": True}
    train_in(tmp_path, "networks", [diverging], prepared=prepared)
    table = pd.read_parquet(tmp_path / "results")
    assert table.loc[table["metric"] == "diverged", "value"].tolist() == [1.0, 1.0]


def test_the_norms_code_is_loaded_before_the_checkpoint_is_looked_for(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint belongs to the code that is loaded, and norms are loaded by name."""
    norms = ["gn", "bn_center"]
    loaded: list[str] = []

    def looked_for(settings: str, data: Path, device: str) -> str:
        assert loaded == norms
        raise InterruptedError

    monkeypatch.setattr(train, "norm_class", loaded.append)
    monkeypatch.setattr(train, "identity_of", looked_for)
    cells = [NETWORK | {"norm": norm} for norm in norms]
    with pytest.raises(InterruptedError):
        train_in(tmp_path, "networks", cells, prepared=prepared)


def test_a_device_is_free_again_while_what_was_trained_is_judged(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed, judge, held = train.claimed, kind.KIND.judge, list[bool]()

    @contextmanager
    def noting(word: str) -> Iterator[torch.device]:
        with claimed(word) as place:
            held.append(True)
            yield place
        held.append(False)

    def judging(*args: Any) -> Any:
        assert held == [True, False]
        return judge(*args)

    monkeypatch.setattr(train, "claimed", noting)
    monkeypatch.setattr(kind, "KIND", dataclasses.replace(kind.KIND, judge=judging))
    train_in(tmp_path, "networks", [NETWORK], prepared=prepared)
    assert held


def test_an_epoch_is_a_line_of_the_log(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_in(tmp_path, "networks", [NETWORK | {"norm": "none", "seeds": [3]}], prepared=prepared)
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert len(lines) == 2
    for epoch, line in enumerate(lines, 1):
        run = "digits head none label lr 0.01 seed 3"
        assert line.startswith(f"{run} epoch {epoch}/2: train loss ")
