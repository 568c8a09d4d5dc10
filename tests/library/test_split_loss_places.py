"""`split_loss` wherever the layer is: its place, ways around it, and the modes of all layers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import build_norm, split_loss
from tests.helpers.cases import C
from tests.helpers.dense import batch_norm
from tests.helpers.model_oracle import Oracle, affine
from tests.helpers.models import IMAGES, VECTORS, Model, chain, data, drawn, images, vectors


@pytest.mark.parametrize("place", [1, 4, 7])
def test_first_middle_and_last_layer(place):
    """Layers before it keep the statistics of the batch; those after it are in evaluation mode."""
    model, (x, target) = chain(), data(VECTORS)
    model[place + 1 :].eval()
    found = split_loss(model, str(place), x, target)
    upstream = F.linear(x, model[0].weight, model[0].bias)
    for layer in model[1:place]:
        if isinstance(layer, nn.BatchNorm1d):
            upstream = affine(layer, batch_norm(upstream, layer.eps))
        else:
            upstream = layer(upstream)
    parts = Model(nn.Identity(), model[place], model[place + 1 :])
    Oracle(parts, upstream, target).check(found)
    assert "running statistics" not in found.method


def test_a_layer_deep_inside_a_model():
    inner = drawn(nn.Sequential(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6))))
    model = nn.Sequential(inner, drawn(nn.Sequential(nn.LeakyReLU(), nn.Linear(6, C)), 1))
    x, target = data(VECTORS)
    parts = Model(inner[0][0], inner[0][1], model[1])
    Oracle(parts, x, target).check(split_loss(model, "0.0.1", x, target))


class Joined(nn.Module):
    """A residual block whose skip connection has a batch norm of its own."""

    def __init__(self, activation=nn.LeakyReLU):
        super().__init__()
        self.first, self.norm = nn.Linear(5, 6), nn.BatchNorm1d(6)
        self.down, self.down_norm = nn.Linear(5, 6), nn.BatchNorm1d(6)
        self.after = nn.Sequential(activation(), nn.Linear(6, C))
        drawn(self)

    def forward(self, x):
        return self.after(self.norm(self.first(x)) + self.down_norm(self.down(x)))


@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
@pytest.mark.parametrize("downstream", ["refuse", "frozen"])
def test_a_parallel_branch_keeps_the_statistics_of_the_batch(activation, downstream):
    model, (x, target) = Joined(activation), data(VECTORS)
    found = split_loss(model, "norm", x, target, downstream=downstream)
    parts = Model(model.first, model.norm, model.after)

    def side(h):
        return affine(model.down_norm, batch_norm(model.down(x), model.down_norm.eps))

    Oracle(parts, x, target, side=side).check(found)
    assert "running statistics" not in found.method


def test_a_skip_that_few_samples_differ_in_is_seen():
    """Here the first two have the same condition, the others another."""

    class Conditional(Model):
        def forward(self, x):
            return self.after(self.norm(self.before(x)) + self.side(x[:, :1]))

    model = drawn(
        Conditional(
            nn.Linear(5, 6),
            nn.BatchNorm1d(6),
            nn.Sequential(nn.LeakyReLU(), nn.Linear(6, C)),
            nn.Linear(1, 6),
        )
    )
    x, target = data(VECTORS)
    x[:, 0] = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 2.0])
    found = split_loss(model, "norm", x, target)
    parts = Model(model.before, model.norm, model.after)
    Oracle(parts, x, target, side=lambda h: model.side(x[:, :1])).check(found)
    assert "skip connection" in found.method


@pytest.mark.parametrize("scale", [1.0, 1e-2])
def test_a_skip_is_seen_in_float32(scale):
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.LeakyReLU, nn.Tanh()), data(VECTORS)
    model.after[-1].weight.data *= scale
    found = split_loss(model, "norm", x, target, dtype=torch.float32)
    assert "skip connection" in found.method
    Oracle(model, x, target).check(found, allowed=1e-5)


def test_a_skip_is_seen_where_outputs_are_small():
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.LeakyReLU, nn.Tanh()), data(VECTORS)
    for parameter in model.after[-1].parameters():
        parameter.data *= 1e-11
    found = split_loss(model, "norm", x, target)
    assert "skip connection" in found.method
    Oracle(model, x, target).check(found)


def test_a_head_that_is_curved_for_some_samples_only_is_curved():
    """GELU is linear to the last bit far out, which is where the first sample's skip puts it."""
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.GELU, nn.Identity()), data(VECTORS)
    model.after = drawn(nn.Sequential(nn.GELU(), nn.Linear(6, C)), 1)
    model.before.weight.data.abs_()
    x[0] = 50.0
    found = split_loss(model, "norm", x, target)
    assert found.method.startswith("exact")
    Oracle(model, x, target).check(found)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(6), build_norm("bn", (6,))], ids=["torch", "own"])
def test_analysed_batch_norm_in_evaluation_mode_standardizes_with_the_batch(norm):
    model, (x, target) = vectors(norm), data(VECTORS)
    model.eval()
    found = split_loss(model, "norm", x, target)
    assert "norm is in evaluation mode, but standardized with the batch here" in found.method
    Oracle(model, x, target).check(found)
    assert not norm.training


def test_other_layers_keep_their_mode():
    """Instance norm with running statistics, in evaluation mode, standardizes with these."""
    model = images(nn.InstanceNorm2d(4, track_running_stats=True), nn.LeakyReLU).eval()
    x, target = data(IMAGES)
    found, norm = split_loss(model, "norm", x, target), model.norm
    mean, var = (v.view(-1, 1, 1) for v in (norm.running_mean, norm.running_var))
    expected = (model.before(x) - mean) / (var + norm.eps).sqrt()
    torch.testing.assert_close(found.y, expected, rtol=1e-12, atol=1e-12)
