"""The training loss is a setting of the cell: training, evaluation, probe and split all compute
with it. Everything here is compared with squared errors by hand.
"""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from bnblind import BadInput
from bnblind.experiments.batching import make_batches
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.blocking import blocked_shares
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.evaluation import evaluate
from bnblind.experiments.networks.losses import (
    TRAINING_LOSSES,
    split_loss_of,
    training_loss,
)
from bnblind.experiments.networks.splitting import Probing, split_at, trained_model
from bnblind.experiments.networks.training import NetworkTrainer, initial_model, judge
from bnblind.experiments.randomness import stream
from bnblind.losses import SAMPLE_LOSSES, sample_loss
from bnblind.pipeline.formats.prepared import dataset_bytes
from bnblind.pipeline.formats.weights import weights_bytes
from bnblind.pipeline.steps import split_networks as step
from tests.helpers.cases import normal
from tests.helpers.training import finished


def squared(logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
    """The squared distance of each sample's logits from its label's unit vector."""
    each = (logits - torch.eye(logits.shape[1]).to(logits)[labels]).square().sum(1)
    return {"none": each, "mean": each.mean(), "sum": each.sum()}[reduction]


@pytest.fixture(autouse=True)
def second_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRAINING_LOSSES, "squared", squared)


def cell(norm: str = "bn", **changes: object) -> NetworkCell:
    settings = {
        **{"dataset": "digits", "model": "head", "norm": norm, "batching": "random", "lr": 0.1},
        **{"batch_size": 32, "epochs": 1, "seeds": (3,), "snapshots": (), "loss": "squared"},
        "optimizer": {"name": "sgd"},
    }
    return NetworkCell(**{**settings, **changes})


def errors(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """What each logit lies above its target, (n, C)."""
    return model(images) - torch.eye(10)[labels].to(images)


def test_training_takes_its_steps_and_reports_its_mean(digits: Dataset) -> None:
    """One step of gradient descent, with the gradient of the last layer written down."""
    settings, part = cell("none", batch_size=10_000), digits.train
    before = initial_model(settings, 3, digits)
    with torch.no_grad():
        above, inputs = errors(before, part.images, part.labels), before[:5](part.images)
    n = len(part.labels)
    weight = before[5].weight - 0.1 * 2 / n * above.T @ inputs
    bias = before[5].bias - 0.1 * 2 / n * above.sum(0)

    run = finished(NetworkTrainer(settings, 3, digits))
    torch.testing.assert_close(run.weights[1]["5.weight"], weight.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(run.weights[1]["5.bias"], bias.detach(), rtol=1e-4, atol=1e-6)
    (reported,) = [row["value"] for row in run.metrics if row["metric"] == "train.loss"]
    assert reported == pytest.approx(above.square().sum(1).mean().item(), rel=1e-5)


def test_evaluation_is_its_mean(digits: Dataset) -> None:
    """Called by itself, and in what the training reports of the start."""
    settings, part = cell(), digits.validation
    model = initial_model(settings, 3, digits).eval()
    with torch.no_grad():
        expected = errors(model, part.images, part.labels).square().sum(1).mean().item()
    found, _ = evaluate(model, part, "eval", 16, seed=0, loss="squared")
    assert found == pytest.approx(expected, rel=1e-5)
    rows = finished(NetworkTrainer(settings, 3, digits)).metrics
    reported = next(row["value"] for row in rows if row["metric"] == "validation.eval.loss")
    assert reported == pytest.approx(expected, rel=1e-5)


def test_the_probe_sees_its_gradient(digits: Dataset) -> None:
    """G = 2/n above @ W * weight at the norm, cut by the definitions; and so are runs judged."""
    settings, part = cell(probed=2), digits.train
    model = initial_model(settings, 3, digits)
    order = stream(3, "blocked", "random")
    batches = make_batches("random", part.labels, 32, order)[:2]
    exact, energy = initial_model(settings, 3, digits).double(), torch.zeros(3).double()
    for batch in batches:
        images, labels = part.images[batch].double(), part.labels[batch]
        with torch.no_grad():
            y = exact[4].standardize(exact[:4](images))
            G = 2 / 32 * errors(exact, images, labels) @ exact[5].weight * exact[4].weight
        mean = G.mean(0).expand_as(G)
        passing = G - mean - y * (y * G).mean(0)
        energy += torch.stack([v.square().sum() for v in (mean, passing, G)])
    expected = {"4.mean_share": energy[0] / energy[2], "4.passing": energy[1] / energy[2]}

    found = blocked_shares(model, part, settings, 3)
    for name, share in expected.items():
        assert found[name] == pytest.approx(share.item(), rel=1e-9)
    plain = blocked_shares(model, part, dataclasses.replace(settings, loss="cross_entropy"), 3)
    assert plain["4.passing"] != pytest.approx(found["4.passing"], rel=1e-3)
    run = finished(NetworkTrainer(settings, 3, digits))
    rows, _ = judge(settings, run, digits)
    judged = {row["metric"]: row["value"] for row in rows if row["epoch"] == 0}
    assert {name: judged[name] for name in found} == found


def by_hand(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The terms at the last norm, whose loss is quadratic: |A y + b - target|^2, at the mean."""
    A = model[5].weight * model[4].weight
    with torch.no_grad():
        y, above = model[4].standardize(model[:4](images)), errors(model, images, labels)
    H, step = 2 * A.T @ A, y - y.mean(0)
    diagonal = H.diagonal()
    total = 2 * above @ A
    terms = {"first": total - step @ H, "diag": step * diagonal, "total": total}
    return terms | {"offdiag": step @ (H - diagonal.diag()), "hdiag": diagonal.expand_as(y)}


def test_the_split_is_of_it(digits: Dataset) -> None:
    settings = cell()
    model = initial_model(settings, 3, digits).double().train()
    images, labels = digits.train.images[:40].double(), digits.train.labels[:40]
    found = split_at(model, "4", images, labels, loss="squared")
    for name, expected in by_hand(model, images, labels).items():
        torch.testing.assert_close(getattr(found, name), expected, rtol=1e-9, atol=1e-11)
    assert found.remainder.abs().max() < 1e-11


STEP_FILES = ("prepared", "weights", "terms", "blocked", "checkpoint")


def test_the_step_splits_and_probes_by_the_cells_own_loss(digits: Dataset, tmp_path: Path) -> None:
    settings = cell()
    run = finished(NetworkTrainer(settings, 3, digits))
    (tmp_path / "prepared").write_bytes(dataset_bytes(digits, {}))
    (tmp_path / "weights").write_bytes(weights_bytes([(settings, run)]))
    probing = {"batchings": ["random"], "batch_size": 32, "batches": 1}
    options = {name: str(tmp_path / name) for name in STEP_FILES}
    paths = [word for name, path in options.items() for word in (f"--{name}", path)]
    step.main(["--settings", json.dumps(probing), *paths])
    terms, shares = (pd.read_parquet(tmp_path / name) for name in ("terms", "blocked"))
    assert set(terms["loss"]) == set(shares["loss"]) == {"squared"}
    terms, shares = terms.set_index("epoch"), shares.set_index("epoch")
    ((_, _, images, labels),) = Probing(("random",), 32, 1).draw(digits.train, 3)
    for epoch in (0, 1):
        model = trained_model(settings, digits, run.weights[epoch]).double()
        expected = by_hand(model, images.double(), labels)
        for name in ("first", "diag", "total"):
            length = expected[name].square().sum().item()
            assert terms.loc[epoch, f"y.{name}.{name}"] == pytest.approx(length, rel=1e-8)
        G = expected["total"]
        mean = 32 * G.mean(0).square().sum() / G.square().sum()
        assert shares.loc[epoch, "mean_share"] == pytest.approx(mean.item(), rel=1e-8)


LOGITS, LABELS = normal(7, 10), torch.arange(7)


@pytest.mark.parametrize("name", sorted({*TRAINING_LOSSES} & {*SAMPLE_LOSSES}))
def test_where_the_engine_has_the_loss_it_is_the_same_one(name: str) -> None:
    """By name, for the engine knows its curvature; and mean and sum are those of its values."""
    assert split_loss_of(name) == name
    own, each = training_loss(name), sample_loss(name).value(LOGITS, LABELS)
    torch.testing.assert_close(own(LOGITS, LABELS, "none"), each)
    torch.testing.assert_close(own(LOGITS, LABELS, "sum"), each.sum())
    torch.testing.assert_close(own(LOGITS, LABELS, "mean"), each.mean())


def test_cross_entropy_is_a_loss_of_the_engine() -> None:
    assert "cross_entropy" in {*TRAINING_LOSSES} & {*SAMPLE_LOSSES}


def test_any_other_loss_is_split_by_its_values() -> None:
    of = split_loss_of("squared")
    assert callable(of)
    torch.testing.assert_close(of(LOGITS, LABELS), squared(LOGITS, LABELS, "none"))


@pytest.mark.parametrize("look_up", [training_loss, split_loss_of])
def test_an_unknown_loss_is_refused(look_up) -> None:
    with pytest.raises(
        BadInput, match="unknown training loss 'hinge'; allowed: cross_entropy, squared"
    ):
        look_up("hinge")
