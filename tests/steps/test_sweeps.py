"""Sweeps over learning rates and purities: what they vary, and what BN blocks on their batches."""

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from bnblind import blocked
from bnblind.errors import BadInput
from bnblind.experiments.batching import make_batches
from bnblind.experiments.cells import Cell, by_job
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.blocking import blocked_shares
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.models import build_model
from bnblind.experiments.randomness import stream
from bnblind.pipeline.configuration.check import check_config
from bnblind.pipeline.discovery import experiments

CELL = NetworkCell.from_settings(
    {
        **{"dataset": "digits", "model": "head", "norm": "bn", "batching": "label", "lr": 0.01},
        **{"batch_size": 16, "epochs": 2, "seeds": [1], "snapshots": []},
        "optimizer": {"name": "sgd", "momentum": 0.9},
    }
)


def cells_of(name: str, config: dict[str, Any]) -> dict[str, list[Cell]]:
    """The cells that the experiment trains, by grid."""
    training = experiments()[name].training
    assert training is not None
    return training.cells(config)


def test_rates_vary_the_rate_and_nothing_else(quick: dict[str, Any]) -> None:
    quick["rates"] = {
        "digits-head-judged": {
            **{"norms": ["bn", "ln"], "batchings": ["label", "random"]},
            **{"learning_rates": [0.5, 1], "seeds": [7]},
        }
    }
    check_config(quick, experiments().values())
    found = by_job(cells_of("rates", quick)["digits-head-judged"])["ln"]
    assert [(c.norm, c.batching, c.lr) for c in found] == [
        ("ln", batching, lr) for batching in ("label", "random") for lr in (0.5, 1.0)
    ]
    (grids_own,) = (
        cell
        for cell in cells_of("classification", quick)["digits-head-judged"]
        if (cell.norm, cell.batching, cell.lr) == ("ln", "label", 0.01)
    )
    swept = {"lr": 0.5, "seeds": (7,), "snapshots": (), "may_diverge": True, "course": False}
    assert found[0] == dataclasses.replace(grids_own, **swept)


def test_purities_vary_the_batches_and_nothing_else(quick: dict[str, Any]) -> None:
    purity = {"norms": ["bn"], "purities": [0.1, 0.95, 1.0], "batches": 3, "seeds": [7]}
    quick["purity"] = {"digits-head-judged": purity}
    quick["shows"] = {}  # what extended has published holds some of these cells
    check_config(quick, experiments().values())
    found = cells_of("purity", quick)["digits-head-judged"]
    assert [cell.batching for cell in found] == ["purity-0.1", "purity-0.95", "purity-1"]
    assert {(cell.norm, cell.seeds) for cell in found} == {("bn", (7,))}
    (grids_own,) = (
        cell
        for cell in cells_of("classification", quick)["digits-head-judged"]
        if (cell.norm, cell.batching) == ("bn", "label")
    )
    swept = {"seeds": (7,), "snapshots": (), "may_diverge": True, "course": False, "probed": 3}
    for cell in found:
        assert cell == dataclasses.replace(grids_own, batching=cell.batching, **swept)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("rates/digits-head-judged/learning_rates", [math.inf], "allowed: finite number"),
        (
            *("rates/digits-head-judged/batchings", ["purity-0.05"]),
            "allowed purities: 0.1 (1 / classes)",
        ),
        (
            "purity/digits-head-judged/purities",
            [0.05, 0.5],
            ".purities: found ['purity-0.05']; all",
        ),
        ("purity/digits-head-judged/purities", [1.5], "1.5 is greater than the maximum of 1"),
        ("rates/other", None, "rates.other: no such grid; allowed: digits-head-judged"),
        ("purity/other", None, "purity.other: no such grid; allowed: digits-head-judged"),
    ],
)
def test_a_mistake_in_a_sweep_is_named(
    quick: dict[str, Any], place: str, value: Any, message: str
) -> None:
    sweep_name, grid, *rest = place.split("/")
    quick["rates"]["digits-head-judged"] = {
        **{"norms": ["bn", "ln"], "batchings": ["label"]},
        **{"learning_rates": [0.5], "seeds": [7]},
    }
    if rest:
        quick[sweep_name][grid][rest[0]] = value
    else:
        quick[sweep_name][grid] = quick[sweep_name]["digits-head-judged"]
    with pytest.raises(BadInput) as caught:
        check_config(quick, experiments().values())
    assert message in str(caught.value)


def network(norm: str, data: Dataset) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model("head", norm, data.input_shape, data.classes)


def test_blocked_shares_are_those_of_the_gradient_at_the_norm(digits: Dataset) -> None:
    """By hand: G = weight * dL/dz of every batch, shares weighted by |G|^2."""
    model = network("bn", digits)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cell = dataclasses.replace(CELL, batching="purity-0.9", probed=5)
    found = blocked_shares(model, digits.train, cell, 3)
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
    probed = dataclasses.replace(CELL, probed=20)
    passing = [
        blocked_shares(
            network("bn", digits),
            digits.train,
            dataclasses.replace(probed, batching=f"purity-{p}"),
            0,
        )["4.passing"]
        for p in ("0.1", "0.5", "0.9", "1")
    ]
    assert passing == sorted(passing, reverse=True)
    assert passing[0] > 0.8 > 0.3 > passing[-1]
    assert blocked_shares(network("ln", digits), digits.train, probed, 0) == {}
