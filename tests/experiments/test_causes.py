"""What is measured of the features before a norm, and of the gradient that it blocks."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bnblind.experiments.batching import make_batches
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.blocking import blocked_shares, mixture_shares
from bnblind.experiments.networks.causes import (
    blocked_share,
    feature_statistics,
    features_before,
)
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.training import NetworkTrainer, initial_model, judge
from bnblind.experiments.randomness import stream
from bnblind.norms import norm_class, norm_names
from tests.helpers.norms import FOR_VECTORS

CELL = NetworkCell.from_settings(
    {
        "dataset": "digits",
        "model": "head",
        "norm": "bn",
        "batching": "label",
        "lr": 0.01,
        "batch_size": 16,
        "epochs": 1,
        "seeds": [0],
        "snapshots": [],
        "probed": 6,
        "features": True,
        "optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 0.01},
    }
)
BLOCKING = [name for name in norm_names() if norm_class(name).blocks_as_bn]


def test_the_norms_with_bns_backward_pass() -> None:
    assert set(BLOCKING) == {"bn", "bn_renorm", "identity_blocked", "identity_blocked_scaled"}


def test_statistics_of_features_in_closed_form() -> None:
    """Two classes at -1 and 3 on one axis, spread by 1 on the other."""
    x = torch.tensor([[-1.0, 1.0], [-1.0, -1.0], [3.0, 1.0], [3.0, -1.0]], dtype=torch.float64)
    found = feature_statistics(x, torch.tensor([4, 4, 7, 7]))
    assert found == {"between_within": 4.0, "squared_mean": 0.5, "variance": 2.5}
    apart = feature_statistics(x[:, :1], torch.tensor([4, 4, 7, 7]))
    assert apart["between_within"] == float("inf")


def test_features_are_those_before_the_first_norm(digits: Dataset) -> None:
    model = initial_model(replace(CELL, norm="bn"), 0, digits)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = features_before(model, digits.test.chunks(100))
    assert isinstance(model, nn.Sequential)
    with torch.no_grad():
        expected = model.double()[:4](digits.test.images.double())
    torch.testing.assert_close(found, expected)
    assert all(torch.equal(model.state_dict()[n].to(v.dtype), v) for n, v in state.items())


def test_of_bn_the_blocked_share_is_the_probes(digits: Dataset) -> None:
    model = initial_model(CELL, 0, digits)
    nn.init.uniform_(model[4].weight, 0.5, 2)
    shares = blocked_shares(model, digits.train, CELL, 0)
    found = blocked_share(model, digits.train, CELL, 0)
    assert found == pytest.approx(1 - shares["4.passing"], abs=1e-9)
    assert 0.5 < found < 1


@pytest.mark.parametrize("norm", FOR_VECTORS)
def test_what_is_blocked_is_what_the_layers_own_backward_pass_takes_away(
    norm: str, digits: Dataset
) -> None:
    """|sigma dX|^2 / |G|^2 by autograd through the layer alone, at the first batch; the scale is
    that of the batch where the backward pass divides by it.
    """
    cell = replace(CELL, norm=norm, probed=1)
    model = initial_model(cell, 0, digits)
    found = blocked_share(model, digits.train, cell, 0)
    if norm not in BLOCKING:
        assert found is None
        return
    order = make_batches("label", digits.train.labels, 16, stream(0, "blocked", "label"))
    batch = next(b for b in order if len(b) == 16)
    model = model.double().train()
    x = model[:4](digits.train.images[batch].double()).detach().requires_grad_()
    y = model[4].standardize(x)
    z = model[4].affine(y)
    z.retain_grad()
    y.retain_grad()
    nn.functional.cross_entropy(model[5](z), digits.train.labels[batch]).backward()
    assert y.grad is not None
    assert x.grad is not None
    divided = {
        "bn": (x.var(0, correction=0) + 1e-5).sqrt(),
        "bn_renorm": torch.tensor(1 + 1e-5).double().sqrt(),
        "identity_blocked": torch.tensor(1.0),
        "identity_blocked_scaled": (x.var(0, correction=0) + 1e-5).sqrt(),
    }[norm]
    passing = (divided * x.grad).square().sum() / y.grad.square().sum()
    assert found == pytest.approx(1 - passing.item(), abs=1e-6)


@pytest.mark.parametrize("norm", ["bn", "none"])
def test_a_run_that_asks_for_it_tells_features_and_blocked_share(
    norm: str, digits: Dataset
) -> None:
    cell = replace(CELL, norm=norm)
    trainer = NetworkTrainer(cell, 0, digits)
    trainer.advance()
    rows, images = judge(cell, trainer.run, digits)
    names = ["features.between_within", "features.squared_mean", "features.variance"]
    names += ["blocked"] if norm == "bn" else []
    assert [(r["epoch"], r["metric"]) for r in rows] == [(e, n) for e in (0, 1) for n in names]
    assert images == {}


def test_mixtures_are_blocked_as_t7_states(digits: Dataset) -> None:
    """Measured: each sample's own gradient at y0, from the classifier in closed form; stated: exact
    for batches of one class, and 0 where every class has the same share.
    """
    cell = replace(CELL, features=False, batching="purity-0.5")
    model = initial_model(cell, 0, digits).double()
    found = mixture_shares(model, digits.train, cell, 0)
    drawn = make_batches(
        cell.batching, digits.train.labels, 16, stream(0, "blocked", cell.batching)
    )
    weight, bias = model[5].weight.detach(), model[5].bias.detach()
    p = (model[5](model[4].bias.detach())).softmax(0).detach()
    blocks = arrives = 0.0
    for batch in [b for b in drawn if len(b) == 16][:6]:
        one_hot = torch.eye(10, dtype=torch.float64)[digits.train.labels[batch]]
        G = (p - one_hot) @ weight
        blocks += 16 * G.mean(0).square().sum().item()
        arrives += G.square().sum().item()
    assert bias.shape == (10,)
    assert found["mixture.measured"] == pytest.approx(blocks / arrives, rel=1e-9)
    assert found["mixture.deviation"] == pytest.approx(
        abs(found["mixture.measured"] - found["mixture.stated"])
    )
    assert 0.05 < found["mixture.stated"] < 0.5
    pure = mixture_shares(model, digits.train, replace(cell, batching="label"), 0)
    assert (pure["mixture.measured"], pure["mixture.stated"]) == pytest.approx((1, 1))


def test_mixtures_need_exactly_one_batch_norm(digits: Dataset) -> None:
    for name, norm in (("head", "ln"), ("mlp", "bn")):
        cell = replace(CELL, features=False, model=name, norm=norm)
        assert mixture_shares(initial_model(cell, 0, digits), digits.train, cell, 0) == {}
