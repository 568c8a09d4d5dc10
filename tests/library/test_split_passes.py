"""What a split costs where samples have heads of their own, and what it knows without a look."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import split_head, split_loss
from bnblind.inspection import LINEAR_NODES, surely_piecewise_linear
from bnblind.losses import CrossEntropy
from tests.helpers.cases import C, normal
from tests.helpers.dense import EXACT
from tests.helpers.models import IMAGES, VECTORS, Function, data, images, vectors


@pytest.mark.parametrize("scale", [1.0, 30.0, 400.0])
def test_curvature_of_cross_entropy_is_a_sum_of_the_fewest_squares(scale):
    """diag(p) - p p', of rank C - 1, and the slope in its directions; also saturated."""
    loss, z, target = CrossEntropy(), scale * normal(20, 6), torch.arange(20) % 6
    weights, directions = loss.curvature(z, target)
    assert weights.shape == (20, 5)
    assert (weights >= 0).all()
    p = z.softmax(1)
    expected = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    found = torch.einsum("mk,mkc,mkd->mcd", weights, directions, directions)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    again, along, direction = loss.squares(z, target)
    assert torch.equal(again, weights)
    assert all(torch.equal(direction(k), directions[:, k]) for k in range(5))
    slope = (along[:, None] @ directions).squeeze(1)
    torch.testing.assert_close(slope, loss.slope(z, target), rtol=1e-13, atol=1e-14)


def test_small_curvatures_keep_their_digits():
    """E_p[J^2] - (E_p J)^2 would have none left."""
    z = torch.tensor([[60.0, 0.0, 1.0]], dtype=torch.float64)
    weights, directions = CrossEntropy().curvature(z, torch.tensor([0]))
    J = normal(3, 1)
    found = (weights * (directions[0] @ J).T.square()).sum()
    p = torch.exp(z[0] - 60) / torch.exp(z[0] - 60).sum()
    exact = p[1] * (J[1] - J[0]).square() + p[2] * (J[2] - J[0]).square()
    torch.testing.assert_close(found, exact[0], rtol=1e-12, atol=0)


class Backward(torch.autograd.Function):
    """The identity; counts the rows that come back through it."""

    rows = 0

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        Backward.rows += len(gradient)
        return gradient


def test_as_many_backward_passes_as_classes_where_a_path_leads_around(monkeypatch):
    """C - 1 of the point and one for the total, whose forward pass is the model's own."""
    monkeypatch.setattr("bnblind.inspection.LINEAR_NODES", {*LINEAR_NODES, "BackwardBackward"})
    after = [Function(Backward.apply), nn.LeakyReLU(), nn.Linear(6, C)]
    model, (x, target) = vectors(nn.BatchNorm1d(6), after=after, side=nn.Tanh()), data(VECTORS)
    Backward.rows, rows = 0, []
    model.norm.register_forward_hook(lambda layer, args, out: rows.append(len(out)))
    found = split_loss(model, "norm", x, target)
    assert found.method.startswith("row by row")
    assert Backward.rows == len(x) * C
    assert rows == [len(x), 3, len(x)]  # the batch, a few rows to compare, the point


def test_samples_with_heads_of_their_own_are_exact_when_saturated():
    model, (x, target) = images(nn.BatchNorm2d(4), side=nn.Tanh()), data(IMAGES)
    model.after[-1].weight.data *= 100
    ways = [split_loss(model, "norm", x, target, hdiag=way).hdiag for way in ("auto", "exact")]
    unit = ways[0].abs().max()
    assert unit < 1e-9
    assert (ways[0] - ways[1]).abs().max() < 1e-11 * unit


W = normal(6, 5)
PIECEWISE_LINEAR = {
    "linear": lambda v: v @ W + 1,
    "relu": lambda v: F.leaky_relu(v @ W) - 2 * v[:, :5],
    "joined": lambda v: torch.cat([F.relu(v), v.sum(1, keepdim=True).expand(-1, 2)], 1),
    "pooled": lambda v: F.max_pool2d(v.view(-1, 1, 2, 3), 2).mean((2, 3)),
    "convolution": lambda v: F.conv1d(v[:, None], normal(2, 1, 3)).flatten(1),
    "batch_norm": lambda v: F.batch_norm(v, v.new_zeros(6), v.new_ones(6)),
    "scaled": lambda v: v * normal(6).requires_grad_(),
}
NOT_KNOWN = {
    "gelu": lambda v: F.gelu(v @ W),
    "product": lambda v: v * v.flip(1),
    "matrix_product": lambda v: v @ v.mT,
    "weights_from_the_features": lambda v: F.linear(v, v),
    "a_function_of_the_users": Backward.apply,
    "hardswish": F.hardswish,
}


@pytest.mark.parametrize("name", [*PIECEWISE_LINEAR, *NOT_KNOWN])
def test_what_is_known_not_to_bend(name):
    point = normal(4, 6).requires_grad_()
    z = {**PIECEWISE_LINEAR, **NOT_KNOWN}[name](point.clone())
    assert surely_piecewise_linear(z, [point]) == (name in PIECEWISE_LINEAR)


def test_a_long_head_is_looked_through():
    point = h = normal(1, 6).requires_grad_()
    for _ in range(3000):
        h = h + F.relu(h - 1)
    assert surely_piecewise_linear(h, [point])


@pytest.mark.parametrize("head", [F.relu, F.gelu])
def test_without_the_diagonal_the_rest_is_exact(head):
    y, y0, target = normal(8, 6), 0.3 * normal(6, seed=2), torch.arange(8) % C

    def whole(v):
        return head(v @ normal(6, 9, seed=3)) @ normal(9, C, seed=4)

    found = split_head(whole, y, target, y0, hdiag="none")
    exact = split_head(whole, y, target, y0, hdiag="exact")
    for part in ("first", "second", "remainder", "total"):
        torch.testing.assert_close(
            getattr(found, part), getattr(exact, part), rtol=EXACT, atol=EXACT
        )
    assert all(bool(getattr(found, part).isnan().all()) for part in ("diag", "offdiag", "hdiag"))
    torch.testing.assert_close(exact.diag + exact.offdiag, exact.second)


@pytest.mark.parametrize("way", ["none", 4])
def test_many_classes_cost_no_more_rows(way):
    """Through a head with a skip connection around the layer."""

    def rows(classes):
        seen = []
        after = [nn.LeakyReLU(), Function(lambda v: (seen.append(len(v)), v)[1])]
        model = vectors(nn.BatchNorm1d(6), after=[*after, nn.Linear(6, classes)], side=nn.Tanh())
        found = split_loss(model, "norm", *data(VECTORS), hdiag=way)
        assert found.second.isfinite().all()
        return sum(seen)

    assert rows(4) == rows(400)
