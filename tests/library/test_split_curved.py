"""The Hessian's diagonal behind curved functions: unit by unit, and what that does not cover."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import curved, exact, split_head, split_loss
from tests.helpers.cases import C, normal
from tests.helpers.dense import taylor_of_head
from tests.helpers.model_oracle import Oracle
from tests.helpers.models import IMAGES, VECTORS, data, images, vectors
from tests.helpers.splits import gap

VECTOR, IMAGE = (6,), (4, 3, 3)
WIDE, OUT = normal(6, 9, seed=21) / 2, normal(9, C, seed=22)
NARROW, FEW = normal(6, 2, seed=23) / 2, normal(2, C, seed=24)
KERNEL, GATE, LAST = normal(4, 4, 3, 3, seed=25) / 3, normal(4, 4, seed=26), normal(36, C, seed=27)


def gated(v, inplace=False):
    """Squeeze and excitation: the channels' means make a factor for each channel."""
    h = F.conv2d(v, KERNEL, padding=1)
    gate = torch.sigmoid(F.silu(h.mean((2, 3)) @ GATE) @ GATE)[:, :, None, None]
    if inplace:
        h *= gate
    else:
        h = h * gate
    return h.flatten(1) @ LAST


def normed(norm):
    return lambda v: norm(F.relu(F.conv2d(v, KERNEL, padding=1) + 0.3)).flatten(1) @ LAST


FUNCTIONS = {
    "gelu": F.gelu,
    "gelu_tanh": lambda v: F.gelu(v, approximate="tanh"),
    "gelu_by_keyword": lambda v: F.gelu(input=v),
    "silu_inplace": lambda v: F.silu(v + 0, inplace=True),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": nn.Softplus(beta=2),
    "mish": F.mish,
    "elu": F.elu,
    "hardswish": F.hardswish,
    "exp": torch.exp,
    "square": torch.square,
    "power": lambda v: v**3,
    "product": lambda v: v * v.flip(1),
    "quotient": lambda v: v / (1 + v.flip(1) ** 2),
    "reciprocal": lambda v: 1 / (2 + v.sin()),
    "softmax": lambda v: F.softmax(v, 1),
    "rms_norm": lambda v: F.rms_norm(v, v.shape[1:]),
    "layer_norm": lambda v: F.layer_norm(v, v.shape[1:]),
    "two_layers": lambda v: F.gelu(torch.tanh(v) + v.roll(1, 1)),
    "written_over_later": lambda v: F.relu_(F.gelu(v)) + F.gelu(v).mul_(2),
}
HEADS = {
    **{
        f"{name}_{width}": (lambda v, f=f, A=A, B=B: f(v @ A + 0.1) @ B, VECTOR)
        for name, f in FUNCTIONS.items()
        for width, A, B in (("wide", WIDE, OUT), ("narrow", NARROW, FEW))
    },
    "squeeze_and_excitation": (gated, IMAGE),
    "squeeze_and_excitation_inplace": (lambda v: gated(v, inplace=True), IMAGE),
    "group_norm": (normed(lambda h: F.group_norm(h, 2, GATE[0], GATE[1])), IMAGE),
    "instance_norm": (normed(nn.InstanceNorm2d(4, affine=True).double()), IMAGE),
    "layer_norm_of_images": (normed(nn.LayerNorm(IMAGE).double()), IMAGE),
}


def split_and_dense(head, shape, loss="cross_entropy", n=5, **options):
    y, y0 = normal(n, *shape, seed=1), 0.3 * normal(*shape, seed=2)
    target = torch.arange(n) % C if loss == "cross_entropy" else normal(n, C, seed=3)
    found = split_head(head, y, target, y0, loss=loss, **options)
    return found, taylor_of_head(head, loss, y, y0, target)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        *((name, "cross_entropy") for name in HEADS),
        *((name, "mse") for name in ("gelu_wide", "gelu_narrow", "squeeze_and_excitation")),
    ],
)
def test_diagonal_unit_by_unit_is_that_of_the_dense_hessian(name, loss):
    head, shape = HEADS[name]
    for way in ("exact", "auto"):
        found, dense = split_and_dense(head, shape, loss, hdiag=way)
        assert found.method.startswith("exact: unit by unit")
        assert not gap(found, dense)
        torch.testing.assert_close(found.hdiag, dense.hdiag, rtol=1e-11, atol=1e-12)


SHIFT = normal(6, seed=28)
CALLS = {
    # By position to the end, with a dtype, a mode, a name: not as torch.nn.functional calls them.
    "layer_norm": lambda v: torch.layer_norm(v, (6,), SHIFT, SHIFT, 1e-5, True),
    "softmax": lambda v: torch.softmax(v, 1, torch.float64),
    "floor": lambda v: torch.div(v.tanh(), 0.3, rounding_mode="floor") + v.tanh(),
    "by_name": lambda v: torch.div(v.tanh(), other=2.0),
    "instance_norm": lambda v: torch.instance_norm(
        v.view(-1, 2, 3), SHIFT[:2], SHIFT[:2], None, None, True, 0.1, 1e-5, False
    ).flatten(1),
    "by_sample": lambda v: torch.stack(
        [F.batch_norm(row.view(1, 2, 3), None, None, training=True).flatten() for row in v]
    ),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("way", ["auto", "exact"])
def test_functions_may_be_called_in_any_way(name, way):
    found, dense = split_and_dense(lambda v: CALLS[name](v) @ WIDE @ OUT, VECTOR, hdiag=way)
    assert not gap(found, dense)


@pytest.mark.parametrize("way", ["auto", "exact", 3])
def test_a_function_written_out_still_writes_in_place(way):
    """Torch has no second derivative of it, and what it gives is not used."""

    def written_over(v):
        h = v + 0
        F.hardsigmoid(h, inplace=True)
        return h.square() @ WIDE @ OUT

    y, y0, target = normal(5, 6, seed=1), 0.3 * normal(6, seed=2), torch.arange(5) % C
    plain = split_head(lambda v: (F.relu6(v + 3) / 6) ** 2 @ WIDE @ OUT, y, target, y0)
    found = split_head(written_over, y, target, y0, hdiag=way)
    for part in ("first", "second", "total"):
        torch.testing.assert_close(getattr(found, part), getattr(plain, part))


@pytest.mark.parametrize("activation", [nn.GELU, nn.Tanh, lambda: nn.SiLU(inplace=True)])
@pytest.mark.parametrize("make", [vectors, images])
def test_samples_with_heads_of_their_own(make, activation):
    """A skip connection leads around the layer; each sample has units and a label of its own."""
    norm = nn.BatchNorm1d(6) if make is vectors else nn.BatchNorm2d(4)
    model, (x, target) = (
        make(norm, activation, nn.Tanh()),
        data(VECTORS if make is vectors else IMAGES),
    )
    found = split_loss(model, "norm", x, target)
    assert found.method.startswith("exact: unit by unit, sample by sample")
    plain = make(norm, nn.SiLU if not isinstance(activation, type) else activation, nn.Tanh())
    Oracle(plain, x, target).check(found)


@pytest.mark.parametrize("rows", [1, 4, 500])
@pytest.mark.parametrize("name", ["gelu_wide", "gelu_narrow", "squeeze_and_excitation"])
def test_pieces_are_joined(name, rows, monkeypatch):
    head, shape = HEADS[name]
    whole, _ = split_and_dense(head, shape)
    monkeypatch.setattr(curved, "ROWS", rows)
    pieces, _ = split_and_dense(head, shape)
    torch.testing.assert_close(pieces.hdiag, whole.hdiag, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("targets", [1, 70])
def test_more_targets_than_rows_at_once(targets):
    found, dense = split_and_dense(HEADS["gelu_wide"][0], VECTOR, "mse", targets)
    torch.testing.assert_close(found.hdiag.expand(targets, -1), dense.hdiag, rtol=1e-11, atol=1e-12)


def test_cost_does_not_grow_with_the_features_or_the_targets():
    """Rows sent through a head with 9 units that bend."""
    rows = []

    def sent(D, targets):
        weights, count = normal(D, 9) / D**0.5, []

        def head(v):
            count.append(len(v))
            return F.gelu(v @ weights) @ OUT

        found = split_head(head, normal(8, D), torch.arange(8) % targets)
        assert found.method == "exact: unit by unit"
        rows.append(sum(count))

    sent(20, 1)
    sent(2000, 1)
    assert rows[0] == rows[1]
    sent(2000, 4)
    assert rows[2] <= rows[0] + 8  # the check's rows, one for each target


class OfItsOwn(torch.autograd.Function):
    """x^3, which no name tells."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * gradient * x**2


UNCOVERED = {
    "a function of the user's": (lambda v: OfItsOwn.apply(F.gelu(v)), lambda v: F.gelu(v) ** 3),
    "a matrix product": (lambda v: (v[:, :, None] @ v[:, None])[:, 0], None),
    "an outer call that is no function of torch": (lambda v: torch.atan2(v, 2 + v.flip(1)), None),
    "a result that is not used": (lambda v: (v.tanh_(), v)[1], torch.tanh),
}


@pytest.mark.parametrize("name", UNCOVERED)
def test_what_is_not_covered_takes_hessian_vector_products(name):
    bends, plain = UNCOVERED[name]
    y, y0, target = normal(5, 6), 0.3 * normal(6, seed=2), torch.arange(5) % C
    found = split_head(lambda v: bends(v @ WIDE) @ OUT, y, target, y0)
    assert found.method == "exact: Hessian-vector products"
    dense = taylor_of_head(
        lambda v: (plain or bends)(v @ WIDE) @ OUT, "cross_entropy", y, y0, target
    )
    assert not gap(found, dense)


def test_a_bend_that_was_missed_is_noticed_however_small(monkeypatch):
    def head(v):
        return (F.gelu(v @ WIDE) + 1e-8 * torch.tanh(v @ WIDE)) @ OUT

    assert split_and_dense(head, VECTOR)[0].method == "exact: unit by unit"
    monkeypatch.setattr(curved, "BENDING", curved.BENDING - {"tanh"})
    found, dense = split_and_dense(head, VECTOR)
    assert found.method == "exact: Hessian-vector products"
    assert not gap(found, dense)


def test_without_the_check_a_missed_bend_would_be_a_wrong_answer(monkeypatch):
    def head(v):
        return F.gelu(OfItsOwn.apply(v @ WIDE)) @ OUT

    def plain(v):
        return F.gelu((v @ WIDE) ** 3) @ OUT

    y, y0, target = normal(5, 6), 0.3 * normal(6, seed=2), torch.arange(5) % C
    dense = taylor_of_head(plain, "cross_entropy", y, y0, target)
    assert not gap(split_head(head, y, target, y0), dense)
    monkeypatch.setattr(
        exact, "_rule", lambda batch, samples, *rest: curved.Curvature(batch, *rest)
    )
    assert gap(split_head(head, y, target, y0), dense).keys() == {"diag", "offdiag"}


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(normal(50))

    def forward(self, v):
        return F.gelu((v * self.weight) @ normal(50, 9, seed=1)) @ OUT


def test_weights_that_require_gradients_are_no_units(monkeypatch):
    """A product with them does not bend; as units, the affine phase's would outnumber all else."""
    monkeypatch.delattr(curved.Curvature, "_feature_by_feature")
    found = split_head(Scaled(), normal(5, 50), torch.arange(5) % C)
    assert found.method == "exact: unit by unit"


@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
def test_heads_that_bend_nowhere(side):
    """All that is left is the loss's own curvature."""
    model, (x, target) = images(nn.BatchNorm2d(4), side=side), data(IMAGES)
    found = split_loss(model, "norm", x, target, hdiag="exact")
    assert found.method.startswith("exact: unit by unit")
    Oracle(model, x, target).check(found)
