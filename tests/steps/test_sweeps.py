"""Sweeps over learning rates and purities: what they vary, and what they record."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from bnblind.experiments.training import Cell, Run, Trainer, train
from bnblind.pipeline.cells import cell_settings, sweep_cells, trained_cells, training_jobs
from bnblind.pipeline.config import check_config
from bnblind.pipeline.train import results_table, train_runs
from torch.nn import functional as F

from bnblind import blocked
from bnblind.errors import BadInput, Diverged
from bnblind.experiments.batching import make_batches
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.blocking import blocked_shares
from bnblind.experiments.networks.models import build_model
from bnblind.experiments.randomness import stream
from bnblind.pipeline import sweep
from bnblind.pipeline.checkpoint import Checkpoint
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.formats.prepared import dataset_bytes
from tests.conftest import ROOT

SETTINGS = {
    **{"dataset": "digits", "model": "head", "norm": "bn", "batching": "label", "lr": 0.01},
    **{"batch_size": 32, "epochs": 2, "seeds": [1], "snapshots": []},
    "optimizer": {"name": "sgd", "momentum": 0.9},
}


def cell(**changes: Any) -> Cell:
    return Cell.from_settings({**SETTINGS, **changes})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(ROOT)
    return copy.deepcopy(read_yaml(Path("config/config.yaml")))


def test_rates_vary_the_rate_and_nothing_else(quick: dict[str, Any]) -> None:
    quick["rates"] = {
        "digits-head": {
            **{"norms": ["bn", "ln"], "batchings": ["label", "random"]},
            **{"learning_rates": [0.5, 1], "seeds": [7]},
        }
    }
    check_config(quick)
    found = sweep_cells(quick, {"sweep": "rates", "grid": "digits-head", "norm": "ln"})
    assert [(c["norm"], c["batching"], c["lr"]) for c in found] == [
        ("ln", batching, lr) for batching in ("label", "random") for lr in (0.5, 1.0)
    ]
    grid_cell = {"grid": "digits-head", "norm": "ln", "batching": "label", "lr": 0.01}
    own = {"lr": 0.5, "seeds": [7], "snapshots": []}
    assert found[0] == cell_settings(quick, grid_cell) | own


def test_purities_vary_the_batches_and_nothing_else(quick: dict[str, Any]) -> None:
    purity = {"norms": ["bn"], "purities": [0.1, 0.95, 1.0], "batches": 3, "seeds": [7]}
    quick["purity"] = {"digits-head": purity}
    check_config(quick)
    found = sweep_cells(quick, {"sweep": "purity", "grid": "digits-head", "norm": "bn"})
    assert [c["batching"] for c in found] == ["purity-0.1", "purity-0.95", "purity-1"]
    assert {(c["norm"], c["lr"], tuple(c["seeds"])) for c in found} == {("bn", 0.01, (7,))}


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("rates/digits-head/learning_rates", [0.01], "bn, label at 0.01; ln, label at 0.01"),
        ("rates/digits-head/learning_rates", [math.inf], "allowed: finite number"),
        ("rates/digits-head/batchings", ["purity-0.05"], "allowed purities: 0.1 (1 / classes)"),
        (
            "purity/digits-head/purities",
            [0.05, 0.5],
            ".purities: found ['purity-0.05']; all",
        ),
        ("purity/digits-head/purities", [1.5], "1.5 is greater than the maximum of 1"),
        ("rates/other", None, "rates.other: no such grid; allowed: digits-head"),
        ("purity/other", None, "purity.other: no such grid; allowed: digits-head"),
    ],
)
def test_a_mistake_in_a_sweep_is_named(
    quick: dict[str, Any], place: str, value: Any, message: str
) -> None:
    sweep_name, grid, *rest = place.split("/")
    quick["rates"]["digits-head"] = {
        **{"norms": ["bn", "ln"], "batchings": ["label"]},
        **{"learning_rates": [0.5], "seeds": [7]},
    }
    if rest:
        quick[sweep_name][grid][rest[0]] = value
    else:
        quick[sweep_name][grid] = quick[sweep_name]["digits-head"]
    with pytest.raises(BadInput) as caught:
        check_config(quick)
    assert message in str(caught.value)


def test_a_sweep_trains_nothing_that_a_grid_trains(quick: dict[str, Any]) -> None:
    """Of the published profile; so a figure that shows both counts no run twice."""
    trained = [settings for job in training_jobs(quick) for settings in trained_cells(quick, job)]
    of_grids = [json.dumps(settings | {"seeds": 0}) for settings in trained]
    for name in ("rates", "purity"):
        for grid, settings in quick[name].items():
            for norm in settings["norms"]:
                job = {"sweep": name, "grid": grid, "norm": norm}
                found = [json.dumps(c | {"seeds": 0}) for c in sweep_cells(quick, job)]
                assert not set(found) & set(of_grids)


def network(norm: str, data: Dataset) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model("head", norm, data.input_shape, data.classes)


def test_blocked_shares_are_those_of_the_gradient_at_the_norm(digits: Dataset) -> None:
    """By hand: G = weight * dL/dz of every batch, shares weighted by |G|^2."""
    model = network("bn", digits)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = blocked_shares(model, digits.train, "purity-0.9", 16, 5, 3)
    assert model.training
    assert all(torch.equal(tensor, before[n]) for n, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())

    exact, shares, total = copy.deepcopy(model).double(), 0.0, 0.0
    order = stream(3, "blocked", "purity-0.9")
    drawn = make_batches("purity-0.9", digits.train.labels, 16, order)
    for batch in [b for b in drawn if len(b) == 16][:5]:
        x = exact[:4](digits.train.images[batch].double())
        y = exact[4].standardize(x).detach().requires_grad_()
        logits = exact[5](exact[4].affine(y))
        (G,) = torch.autograd.grad(F.cross_entropy(logits, digits.train.labels[batch]), y)
        layer = blocked(G, y.detach()).layer()
        shares += layer.passing.item() * layer.total.item()
        total += layer.total.item()
    assert found["4.passing"] == pytest.approx(shares / total, rel=1e-9)
    assert set(found) == {"4.mean_share", "4.scale_share", "4.passing"}
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)


def test_pure_batches_block_more_and_other_norms_nothing(digits: Dataset) -> None:
    passing = [
        blocked_shares(network("bn", digits), digits.train, f"purity-{p}", 16, 20, 0)["4.passing"]
        for p in ("0.1", "0.5", "0.9", "1")
    ]
    assert passing == sorted(passing, reverse=True)
    assert passing[0] > 0.8 > 0.3 > passing[-1]
    assert blocked_shares(network("ln", digits), digits.train, "label", 16, 2, 0) == {}


DIVERGING = [cell(norm="none", lr=1e30), cell(norm="none", seeds=[1, 2])]


def test_a_diverged_run_is_a_result_and_the_next_one_follows(
    digits: Dataset, tmp_path: Path
) -> None:
    trained = train_runs(DIVERGING, digits, Checkpoint(tmp_path / "c", "job"), diverging=True)
    (_, first), (own, second), _ = trained
    lost = [row for row in first.metrics if row["metric"] == "diverged"]
    assert lost == [{"epoch": 1, "metric": "diverged", "value": 1.0}]
    assert list(first.weights) == [0]
    assert (own, second.seed) == (DIVERGING[1], 1)
    assert second.metrics == train(own, 1, digits).metrics
    with pytest.raises(Diverged):
        train_runs(DIVERGING, digits, Checkpoint(tmp_path / "d", "job"))


class Interrupted(Exception):
    pass


def test_an_interrupted_sweep_goes_on_to_the_same_bits(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a diverged run, a finished one, and an epoch of the third."""
    whole = train_runs(DIVERGING, digits, Checkpoint(tmp_path / "w", "job"), diverging=True)
    checkpoint, save = Checkpoint(tmp_path / "c", "job", interval=0), Checkpoint.save

    def interrupting(self: Checkpoint, finished: list[Run], trainer: Trainer) -> None:
        save(self, finished, trainer)
        if len(finished) == 2:
            raise Interrupted

    monkeypatch.setattr(Checkpoint, "save", interrupting)
    with pytest.raises(Interrupted):
        train_runs(DIVERGING, digits, checkpoint, diverging=True)
    monkeypatch.setattr(Checkpoint, "save", save)
    resumed = train_runs(DIVERGING, digits, checkpoint, diverging=True)
    assert results_table(whole).equals(results_table(resumed))


def test_the_step_writes_every_run_and_what_bn_blocks(digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "prepared").write_bytes(dataset_bytes(digits, {}))
    swept = [SETTINGS | {"batching": f"purity-{p}", "epochs": 1} for p in ("0.5", "1")]
    options = {name: str(tmp_path / name) for name in ("prepared", "checkpoint", "results")}
    words = [word for name, path in options.items() for word in (f"--{name}", path)]
    sweep.main(["--cells", json.dumps(swept), "--probed", "4", *words])
    table = pd.read_parquet(tmp_path / "results")
    assert not table.duplicated(["batching", "seed", "epoch", "metric"]).any()
    passing = table[table["metric"] == "4.passing"].set_index(["batching", "epoch"])["value"]
    assert set(passing.index) == {(f"purity-{p}", e) for p in ("0.5", "1") for e in (0, 1)}
    assert passing["purity-1", 0] < passing["purity-0.5", 0]
    assert table.groupby("batching")["batch_order"].nunique().eq(1).all()
    assert table["batch_order"].nunique() == 2
    assert not (tmp_path / "checkpoint").exists()


def test_the_step_notes_a_diverged_run(digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "prepared").write_bytes(dataset_bytes(digits, {}))
    options = {name: str(tmp_path / name) for name in ("prepared", "checkpoint", "results")}
    words = [word for name, path in options.items() for word in (f"--{name}", path)]
    settings = [SETTINGS | {"norm": "none", "lr": 1e30}]
    sweep.main(["--cells", json.dumps(settings), "--probed", "0", *words])
    table = pd.read_parquet(tmp_path / "results")
    assert table.loc[table["metric"] == "diverged", "value"].tolist() == [1.0] * len(
        SETTINGS["seeds"]
    )
