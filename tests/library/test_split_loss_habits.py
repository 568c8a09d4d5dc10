"""`split_loss` on models with habits: in-place functions, shapes and attributes that they read."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import BadInput, split_loss
from tests.helpers.cases import C, normal
from tests.helpers.dense import PARTS
from tests.helpers.model_oracle import Oracle
from tests.helpers.models import (
    IMAGES,
    LAYERS,
    VECTORS,
    Function,
    Model,
    N,
    data,
    drawn,
    images,
    vectors,
)


class Reader(nn.Module):
    """Reads the batch size off its input, and flattens or pools by it."""

    def __init__(self, activation, pools):
        super().__init__()
        self.before = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.activation, self.pools = activation(), pools
        self.out = nn.Linear(4 if pools else 64, C)
        drawn(self)

    def forward(self, inp):
        v = self.activation(self.norm(self.before(inp)))
        if self.pools:
            return self.out(v.view(inp.shape[0], 4, -1).mean(2))
        return self.out(v.view(inp.shape[0], -1))


@pytest.mark.parametrize("pools", [False, True])
@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
def test_models_that_read_the_batch_size_off_their_input(activation, pools):
    model, (x, target) = Reader(activation, pools), data(IMAGES)
    pool = [nn.AdaptiveAvgPool2d(1)] if pools else []
    after = nn.Sequential(model.activation, *pool, nn.Flatten(), model.out)
    parts = Model(model.before, model.norm, after)
    Oracle(parts, x, target).check(split_loss(model, "norm", x, target))


@pytest.mark.parametrize("name", ["BatchNorm1d_plain", "BatchNorm1d", "none", "LayerNorm_plain"])
@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
@pytest.mark.parametrize("way", ["auto", "exact"])
def test_in_place_relu_behind_the_layer(name, side, way):
    def model_with(inplace):
        after = nn.Sequential(nn.ReLU(inplace=inplace), nn.Linear(6, C))
        return vectors(LAYERS[name][1](), side=side, after=after)

    x, target = data(VECTORS)
    y0 = 0.4 * normal(6, seed=9)
    found = split_loss(model_with(True), "norm", x, target, y0=y0, hdiag=way)
    Oracle(model_with(False), x, target, y0=y0).check(found)


class WritesThenJoins(Model):
    """In-place right after the layer, before a skip connection and a later norm join."""

    inplace = True

    def forward(self, x):
        h = self.before(x)
        z = self.norm(h)
        z = F.leaky_relu_(z) if self.inplace else F.leaky_relu(z)
        return self.after(z + self.side(h))


@pytest.mark.parametrize("way", ["auto", "exact"])
@pytest.mark.parametrize("name", ["BatchNorm1d_plain", "none", "LayerNorm_plain"])
def test_in_place_function_between_the_layer_and_a_skip(name, way):
    after = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, C))
    model = drawn(WritesThenJoins(nn.Linear(5, 6), LAYERS[name][1](), after, nn.Tanh()))
    (x, target), y0 = data(VECTORS), 0.4 * normal(6, seed=9)
    options = {"y0": y0, "hdiag": way, "downstream": "frozen"}
    found = split_loss(model, "norm", x, target, **options)
    model.inplace = False
    expected = split_loss(model, "norm", x, target, **options)
    for part in PARTS:
        assert torch.equal(getattr(found, part), getattr(expected, part))


class RectifiesItsSkip(Model):
    """An in-place module before the layer, after the skip connection has branched off."""

    def __init__(self, *parts, inplace):
        super().__init__(*parts)
        self.activation = nn.LeakyReLU(inplace=inplace)

    def forward(self, x):
        skip = self.before(x)
        h = self.activation(skip)
        return self.after(self.norm(h) + (skip if self.activation.inplace else h))


@pytest.mark.parametrize("way", ["auto", "exact", 4])
def test_in_place_function_before_the_layer_and_a_skip(way):
    """Every pass has to run it: what it gives out alone does not tell the skip."""
    pieces = (nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, C))
    (x, target), y0 = data(VECTORS), 0.4 * normal(6, seed=9)
    found, expected = (
        split_loss(
            drawn(RectifiesItsSkip(*pieces, inplace=so)), "norm", x, target, y0=y0, hdiag=way
        )
        for so in (True, False)
    )
    for part in PARTS:
        assert torch.equal(getattr(found, part), getattr(expected, part))


@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
def test_models_that_write_into_their_input(side):
    """The caller's batch stays as it is, and every pass gets the same."""
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.LeakyReLU, side), data(VECTORS)
    linear = model.before
    model.before = nn.Sequential(Function(lambda v: v.mul_(2).sub_(0.5)), linear)
    given = x.clone()
    found = split_loss(model, "norm", given, target)
    assert torch.equal(given, x)
    model.before = nn.Sequential(Function(lambda v: 2 * v - 0.5), linear)
    Oracle(model, x, target).check(found)


def test_models_that_look_at_the_layers_attributes():
    class Looks(Model):
        def forward(self, x):
            h = self.before(x).to(self.norm.weight.dtype)
            assert self.after[0].running_mean.dtype == h.dtype
            return self.after(self.norm(h))

    after = nn.Sequential(nn.BatchNorm1d(6).eval(), nn.Linear(6, C))
    model = drawn(Looks(nn.Linear(5, 6), nn.BatchNorm1d(6), after))
    x, target = data(VECTORS)
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


def test_integer_inputs():
    table = nn.Embedding(7, 5)
    model, target = vectors(nn.BatchNorm1d(6), nn.LeakyReLU), torch.arange(N) % C
    model.before = drawn(nn.Sequential(table, model.before), 3)
    x = torch.tensor([0, 3, 2, 6, 1, 3])
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


class ActivatedBatchNorm(nn.BatchNorm1d):
    """Does more than its base class."""

    def forward(self, x):
        return F.leaky_relu(super().forward(x))


class Narrowed(nn.BatchNorm1d):
    """Gives out half of its channels."""

    def forward(self, x):
        return super().forward(x)[:, :3]


class ChannelsLast(nn.LayerNorm):
    """Normalizes the channels of images: by element of another axis than the last."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (vectors(ActivatedBatchNorm(6), nn.LeakyReLU), VECTORS),
        (vectors(Narrowed(6), after=[nn.Linear(3, C)]), VECTORS),
        (images(ChannelsLast(4), nn.LeakyReLU), IMAGES),
    ],
    ids=["activated", "narrowed", "channels_last"],
)
def test_layers_that_do_more_than_their_kind_are_not_taken_for_it(model, shape):
    name = type(model.norm).__name__
    with pytest.raises(BadInput, match=rf"'norm' \({name}\) does more than .* call split_head"):
        split_loss(model, "norm", *data(shape))


class Renamed(nn.BatchNorm1d):
    """Does no more than its base class."""


@pytest.mark.parametrize("training", [True, False])
def test_layers_that_do_no_more_than_their_kind_are_taken_for_it(training):
    """In evaluation mode too, where the layer's own forward pass takes its running statistics."""
    model, (x, target) = vectors(Renamed(6), nn.GELU).train(training), data(VECTORS)
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))
    assert model.norm.training == training
