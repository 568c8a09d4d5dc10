"""Which Taylor terms of the loss each variant blocks: T1 to T3 and their cause, at eps = 0.

The terms are written out here for a quadratic loss; nothing of the library but the norm
itself is used.
"""

import pytest
import torch

from bnblind import build_norm
from bnblind.norms import freeze_statistics, norm_names
from tests.helpers.norms import POSITIONAL

TERMS = ("first", "diag", "offdiag")
BLOCKED = {
    "none": set(),
    "bn": {"first", "diag"},
    "ln": set(),
    "gn": set(),
    "in": set(),
    "bn_center": {"first"},
    "bn_scale": set(),
    "bn_affine": set(),
    "bn_detached": set(),
    "bn_frozen": set(),
    "bn_ema": set(),
    "bn_renorm": {"first", "diag"},
    "bn_zeroed": set(TERMS),
    "identity_blocked": {"first", "diag"},
    "identity_blocked_scaled": {"first", "diag"},
    "identity_zeroed": set(TERMS),
    "rms": set(),
    "dyt": set(),
}
N, D = 12, 8


def normal(*size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


def term(name, y, seed):
    """A Taylor term at y0 = 0, summed over the batch, of a quadratic with random g and H."""
    g, B = normal(D, seed=seed), normal(D, D, seed=seed + 1)
    H = B + B.T
    diagonal = torch.diag(torch.diagonal(H))
    rows = y.flatten(1)
    if name == "first":
        return (rows * g).sum()
    chosen = diagonal if name == "diag" else H - diagonal
    return 0.5 * torch.einsum("nd,de,ne->", rows, chosen, rows)


def gradients(norm, name, seed):
    """Gradient of a term before and after the norm; features with mean and correlations."""
    shape = norm.shape
    x = normal(N, D, seed=seed + 2) @ (torch.eye(D) + 0.3 * normal(D, D, seed=seed + 3)) + 1.5
    x = x.unflatten(1, shape).requires_grad_()
    freeze_statistics(norm, x)
    y = norm(x)
    return x, *torch.autograd.grad(term(name, y, seed), (x, y))


def shape_for(norm):
    return (D // 4, 4) if norm in POSITIONAL else (D,)


def test_every_norm_is_in_the_table():
    assert set(BLOCKED) == set(norm_names())


@pytest.mark.parametrize("seed", [0, 100])
@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("norm", norm_names())
def test_blocked_terms(norm, name, seed):
    layer = build_norm(norm, shape_for(norm), eps=0.0).double()
    _, before, after = gradients(layer, name, seed)
    share = (before.norm() / after.norm()).item()
    if name in BLOCKED[norm]:
        assert share < 1e-13
    else:
        assert share > 0.05


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("norm", ["none", "bn_affine", "bn_detached", "bn_frozen"])
def test_without_statistics_in_the_graph_only_the_scale_is_left(norm, name):
    layer = build_norm(norm, (D,), eps=0.0).double()
    x, before, after = gradients(layer, name, 0)
    constant = norm in ("none", "bn_affine")
    scale = 1.0 if constant else x.detach().std(0, correction=0)
    torch.testing.assert_close(scale * before, after, rtol=1e-12, atol=0)


@pytest.mark.parametrize("eps", [1e-5, 1e-2, 1.0])
def test_first_order_stays_blocked_with_eps_and_the_diagonal_leaks(eps):
    """T2: the leak is H_dd eps (x - mu) / (var + eps)^2."""
    layer = build_norm("bn", (D,), eps=eps).double()
    _, before, after = gradients(layer, "first", 0)
    assert before.norm() / after.norm() < 1e-13
    x, before, after = gradients(layer, "diag", 0)
    B = normal(D, D, seed=1)
    centred = x.detach() - x.detach().mean(0)
    var = centred.square().mean(0)
    leak = 2 * torch.diagonal(B) * eps * centred / (var + eps).square()
    assert (before - leak).abs().max() < 1e-13 * after.abs().max()


def test_ln_blocks_directions_within_a_sample():
    """Not those shared by the batch: each sample's gradient before LN has mean 0."""
    layer = build_norm("ln", (D,), eps=0.0).double()
    x, before, _ = gradients(layer, "first", 0)
    assert before.mean(1).abs().max() < 1e-13
    assert (before * x.detach()).sum(1).abs().max() < 1e-12
    assert before.mean(0).abs().max() > 0.05
