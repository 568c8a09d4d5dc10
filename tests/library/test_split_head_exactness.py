"""`split_head` against full Hessians and torch's own batch norm."""

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bnblind import split_head
from bnblind.inspection import Inspection
from tests.helpers.cases import CASES, HEADS, C, Case, Y, normal, p_of
from tests.helpers.dense import EXACT, PARTS, before_batch_norm, taylor_of_head
from tests.helpers.splits import dense_of, gap, split, split_of


@pytest.mark.parametrize("case", CASES, ids=str)
def test_terms_are_those_of_the_dense_hessian(case):
    found, dense = split_of(case), dense_of(case)
    assert not gap(found, dense)
    unit = max(dense.hdiag.abs().max().item(), torch.finfo(torch.float64).tiny)
    assert (found.hdiag - dense.hdiag).abs().max() <= EXACT * unit


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layers_backward_is_that_of_torchs_batch_norm(case):
    found, built = split_of(case), case.build()
    for part in PARTS:
        G = getattr(found, part)
        expected = before_batch_norm(built.x, G, case.eps)
        unit = (G.abs().max() / built.sigma.min()).item()
        assert (found.carry(G) - expected).abs().max() <= EXACT * unit


@pytest.mark.parametrize("case", CASES, ids=str)
def test_way_is_chosen_by_whether_the_head_is_piecewise_linear(case):
    found = split_of(case)
    expected = "fused" if case.kind.piecewise else "exact"
    if case.head == "log_softmax" and case.loss not in ("cross_entropy", "soft_cross_entropy"):
        expected = "exact"
    assert found.method.startswith(expected)
    assert found.kinks == 0
    assert not found.undefined


@pytest.mark.parametrize("case", [c for c in CASES if c.saturated], ids=str)
def test_saturated_heads_are_saturated(case):
    built = case.build()
    with torch.no_grad():
        p = p_of(built.head(torch.cat([built.y, built.y0[None]])), built.target[:1].expand(9))
    assert 1 - p.max() < 1e-8


@pytest.mark.parametrize(
    ("head", "loss"),
    [
        (name, loss)
        for name, kind in HEADS.items()
        for loss in ("cross_entropy", "log_cosh")
        # A log-softmax inside bends only what cross-entropy does not see.
        if kind.piecewise and (name != "log_softmax" or loss == "cross_entropy")
    ],
)
def test_the_ways_agree_on_piecewise_linear_heads(head, loss):
    case = Case(head, loss)
    dense = dense_of(case)
    for way, said in (("auto", "seen to be piecewise linear"), ("exact", "exact")):
        found = split(case, hdiag=way)
        assert said in found.method
        assert not gap(found, dense)


@pytest.mark.parametrize("head", [name for name, kind in HEADS.items() if not kind.piecewise])
def test_taking_a_curved_head_for_piecewise_linear_is_wrong(head, monkeypatch):
    """So that the agreement of "auto" with the oracle means something."""
    monkeypatch.setattr(Inspection, "is_piecewise_linear", lambda self: True)
    case = Case(head)
    assert gap(split(case), dense_of(case))


def test_a_head_that_only_a_flat_loss_sees_as_curved_is_curved():
    """One target's slope is 1e17 times the other's, and along another output, which is linear."""

    def head(v):
        return torch.stack([v.sum(1), v.tanh().sum(1)], 1)

    y0 = 0.3 * normal(9)
    target = head(y0[None]) + torch.tensor([[1e10, 0], [0, 1e-7]], dtype=torch.float64)
    found = split_head(head, Y[:2], target, y0, loss="mse")
    assert found.method.startswith("exact")


def test_terms_add_to_the_plain_gradient():
    case = Case("gelu")
    built, found = case.build(), split_of(case)
    y = built.y.clone().requires_grad_()
    loss = F.cross_entropy(built.head(y), built.target, reduction="sum")
    (plain,) = torch.autograd.grad(loss, y)
    torch.testing.assert_close(found.total, plain, rtol=1e-12, atol=1e-14)
    four = found.first + found.diag + found.offdiag + found.remainder
    torch.testing.assert_close(four, plain, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "log_cosh"])
@pytest.mark.parametrize("head", ["gelu", "tanh", "silu", "conv_gelu"])
def test_remainder_is_of_second_order(head, loss):
    """The remainder is found by subtraction: an error of another term would end up in it, and
    would not vanish with the square of the step.
    """
    case = Case(head, loss)
    built = case.build()
    direction = normal(*built.y.shape, seed=6)

    def remainder(h):
        y = built.y0 + h * direction
        return split_head(
            built.head, y, built.target, built.y0, loss=case.loss_function
        ).remainder.flatten(1)

    whole, half = remainder(2e-3).norm(dim=1), remainder(1e-3).norm(dim=1)
    assert (whole / half).log2().median().item() == pytest.approx(2, abs=0.02)


def test_remainder_of_piecewise_linear_head_and_quadratic_loss_is_zero():
    built = Case("linear", "mse").build()
    found = split_head(built.head, built.y, normal(8, C), loss="mse")
    assert found.remainder.abs().max() < 1e-14
    assert found.offdiag.abs().max() > 1e-3


@pytest.mark.parametrize("way", ["auto", "exact"])
def test_functions_that_write_into_their_input_reach_nobody_elses_tensor(way):
    """In-place ReLU right after the layer, without an affine phase in between."""
    W, y, target = normal(9, C), normal(6, 9, seed=1), torch.arange(6) % C
    y0 = 0.3 * normal(9, seed=2)
    before = [y.clone(), y0.clone()]
    found = split_head(lambda v: F.relu_(v) @ W, y, target, y0, hdiag=way)
    assert torch.equal(y, before[0])
    assert torch.equal(y0, before[1])
    dense = taylor_of_head(lambda v: F.relu(v) @ W, "cross_entropy", y, y0, target)
    assert not gap(found, dense)


def test_sequence_models():
    """Self-attention over (n, T, D), pre-norm, with its functions' double backward."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True, norm_first=True)
    head = nn.Sequential(layer, nn.Flatten(), nn.Linear(24, C)).double()
    y, target = normal(3, 4, 6), torch.arange(3)
    y0 = y.mean(0)
    found = split_head(head, y, target, y0)
    assert found.method.startswith("exact")
    point = y0[None].clone()
    with sdpa_kernel(SDPBackend.MATH):
        H = hessian(lambda v: F.cross_entropy(head(v), target[1:2]), point)
    H = H.reshape(24, 24)
    step = (y[1] - y0).flatten()
    unit = found.total.abs().max()
    assert (found.diag[1].flatten() - H.diagonal() * step).abs().max() <= EXACT * unit
    second = (found.diag + found.offdiag)[1].flatten()
    assert (second - H @ step).abs().max() <= EXACT * unit


def test_functions_without_forward_derivatives():
    """The guard then differentiates backward twice."""

    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            s = torch.sigmoid(x)
            return grad * (s + x * s * (1 - s))

    W, y, target = normal(9, C), normal(6, 9, seed=1), torch.arange(6) % C
    found = split_head(lambda v: Swish.apply(v) @ W, y, target)
    assert found.method.startswith("exact")
    zero = torch.zeros(9, dtype=torch.float64)
    assert not gap(found, taylor_of_head(lambda v: F.silu(v) @ W, "cross_entropy", y, zero, target))


@pytest.mark.parametrize("gated", [False, True])
def test_a_function_of_which_torch_has_no_second_derivative(gated):
    """Hardsigmoid, which is piecewise linear; times the features, as in a gate, it is curved."""
    weights, y, target = normal(9, C), normal(6, 9, seed=1), torch.arange(6) % C
    y0 = 0.3 * normal(9, seed=2)

    def head(v, gate):
        return (v * gate if gated else gate) @ weights

    dense = taylor_of_head(
        lambda v: head(v, (v / 6 + 0.5).clamp(0, 1)), "cross_entropy", y, y0, target
    )
    ways = {"auto": "exact" if gated else "fused", "exact": "exact"}
    for way, method in ways.items():
        found = split_head(lambda v: head(v, F.hardsigmoid(v)), y, target, y0, hdiag=way)
        assert found.method.startswith(method)
        # torch's own derivative of hardsigmoid holds 1/6 in single precision.
        assert not gap(found, dense, 1e-7)
