"""The toy task whose only signal is first-order: T1 decides which norms learn it."""

import copy
import hashlib
import json

import pandas as pd
import pytest
import torch

from bnblind import BadInput
from bnblind.experiments.first_order_task import (
    Draw,
    LinearSignal,
    layer_of,
    loss_of,
    train_first_order_task,
)
from bnblind.norms import norm_class, norm_names
from bnblind.norms.bn_affine import AffineOnly
from bnblind.pipeline.steps import train_first_order_task as step
from tests.library.test_blocking import BLOCKED

TASK = LinearSignal(classes=3, inputs=5, features=16, batch_size=8, steps=12, lr=0.1)
AT_REST = {norm for norm in norm_names() if "first" in BLOCKED[norm]}
FORWARD_CENTERS = {norm for norm in norm_names() if norm_class(norm).centers_batch}


def rows(norm: str, seed: int = 10) -> pd.DataFrame:
    return pd.DataFrame(train_first_order_task(norm, TASK, seed))


def test_batch_norm_is_among_those_at_rest_and_its_forward_pass_alone_is_not() -> None:
    assert AT_REST >= {"bn", "bn_center"}
    assert FORWARD_CENTERS >= {"bn", "bn_center", "bn_detached"}
    assert "bn_detached" not in AT_REST


@pytest.mark.parametrize("seed", [10, 11, 12])
@pytest.mark.parametrize("norm", norm_names())
def test_weights_rest_under_bn_and_centering_and_move_under_all_others(
    norm: str, seed: int
) -> None:
    table = rows(norm, seed)
    assert table["displacement"][0] == 0
    if norm in AT_REST:
        assert table["gradient"].max() < 1e-14
        assert table["displacement"].max() < 1e-14
    else:
        assert table["gradient"].min() > 0.1
        assert table["displacement"][1:].min() > 0.01


@pytest.mark.parametrize("norm", sorted({*norm_names()} - AT_REST | FORWARD_CENTERS))
def test_the_loss_falls_unless_the_forward_pass_removes_the_batch_mean(norm: str) -> None:
    """What batches of a class lose is measured on each class alike."""
    by_label = rows(norm).groupby("label")["loss"]
    change = by_label.last() - by_label.first()
    if norm in FORWARD_CENTERS:
        assert change.abs().max() < 1e-12
    else:
        assert change.mean() < -0.1


@pytest.mark.parametrize("norm", norm_names())
def test_the_loss_is_first_order(norm: str) -> None:
    """Linear in what the norm gives, one direction for all the samples: the gradient there is
    the same row for each, and the loss at the middle of two points is the mean of theirs.
    """
    draw = Draw.of(TASK, 10)
    _, inputs = next(draw.batches(TASK, 10))
    layer = layer_of(norm, draw, draw.means @ draw.weights.T)
    y = (inputs @ draw.weights.T).unflatten(1, layer.shape).requires_grad_()
    affine = layer.affine

    def after_norm(y: torch.Tensor) -> torch.Tensor:
        return -(affine(y).flatten(1) @ draw.directions[0]).mean()

    (gradient,) = torch.autograd.grad(after_norm(y), y)
    assert torch.allclose(gradient, gradient[:1].expand_as(gradient), rtol=0, atol=1e-16)
    other = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype)
    middle = after_norm((y + other) / 2)
    assert middle.item() == pytest.approx(((after_norm(y) + after_norm(other)) / 2).item())
    # Of a copy: running averages go on with every call.
    standardized = after_norm(
        copy.deepcopy(layer).standardize((inputs @ draw.weights.T).unflatten(1, layer.shape))
    )
    assert loss_of(layer, draw.weights, inputs, draw.directions[0]).item() == pytest.approx(
        standardized.item()
    )


def test_every_norm_sees_the_same_task() -> None:
    """Weights, batches and directions are the seed's; without a norm the closed form holds."""
    draw = Draw.of(TASK, 10)
    expected = draw.weights.clone()
    table = rows("none")
    for row, (label, inputs) in zip(table.itertuples(), draw.batches(TASK, 10), strict=True):
        assert row.label == label == row.step % 3
        gradient = -torch.outer(draw.directions[label], inputs.mean(0))
        moved = (expected - draw.weights).norm() / draw.weights.norm()
        assert row.displacement == pytest.approx(moved.item())
        assert row.gradient == pytest.approx(gradient.norm().item())
        expected -= TASK.lr * gradient
    for norm in ("bn", "ln"):
        assert torch.equal(Draw.of(TASK, 10).weights, draw.weights)
        assert rows(norm)["label"].equals(table["label"])
    other = Draw.of(TASK, 11)
    assert not torch.equal(other.weights, draw.weights)


@pytest.mark.parametrize("norm", norm_names())
def test_only_the_weights_are_trained(norm: str) -> None:
    draw = Draw.of(TASK, 10)
    layer = layer_of(norm, draw, draw.means @ draw.weights.T)
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    if isinstance(layer, AffineOnly):
        assert not torch.equal(layer.weight, torch.ones_like(layer.weight))


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown norm 'bm'; allowed: bn, "):
        rows("bm")


def test_two_runs_write_the_same_bytes(tmp_path) -> None:
    settings = {**vars(TASK), "norms": ["none", "bn", "in"], "seeds": [10, 11]}
    for name in ("first", "second"):
        step.main(["--settings", json.dumps(settings), "--table", str(tmp_path / name)])
    first, second = (
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("first", "second")
    )
    assert first == second
    table = pd.read_parquet(tmp_path / "first")
    assert not table.duplicated(["norm", "seed", "step"]).any()
    assert len(table) == 3 * 2 * TASK.steps
