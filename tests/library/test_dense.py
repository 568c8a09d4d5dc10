"""The oracle itself, against finite differences and a series worked out by hand."""

import pytest
import torch
from torch.nn import functional as F

from tests.helpers.dense import NAMED, before_batch_norm, cross_entropy, taylor, taylor_of_head


def normal(*size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


D, C, N = 5, 3, 4
W1, W2 = normal(D, 7, seed=1), normal(7, C, seed=2)


def head(y):
    return F.gelu(y @ W1) @ W2


def targets(loss):
    return torch.arange(N) % C if loss == "cross_entropy" else normal(N, C, seed=3)


def test_quadratic_loss_by_hand():
    """With a matrix that is not symmetric, at a point that is not 0."""
    a, B, y0, y = normal(D), normal(D, D, seed=1), normal(D, seed=2), normal(N, D, seed=3)
    H = (B + B.T) / 2
    found = taylor(lambda row: a @ row + 0.5 * row @ B @ row, y, y0)
    for i in range(N):
        s = y[i] - y0
        expected = [H[d, d] * s[d] for d in range(D)]
        torch.testing.assert_close(found.diag[i], torch.stack(expected))
        expected = [sum(H[d, e] * s[e] for e in range(D) if e != d) for d in range(D)]
        torch.testing.assert_close(found.offdiag[i], torch.stack(expected))
        torch.testing.assert_close(found.first[i], a + H @ y0)
    assert found.remainder.abs().max() < 1e-13


@pytest.mark.parametrize("loss", NAMED)
def test_derivatives_by_finite_differences(loss):
    """Central differences of the loss's value: error of the order h^2, or rounding / h^2."""
    y, y0, target = normal(N, D), 0.3 * normal(D, seed=5), targets(loss)
    found = taylor_of_head(head, loss, y, y0, target)

    def value(i, row):
        return NAMED[loss](head(row[None])[0], target[i])

    h, units = 1e-4, torch.eye(D, dtype=torch.float64)
    for i in range(N):
        for d, unit in enumerate(h * units):
            ahead, behind, here = value(i, y0 + unit), value(i, y0 - unit), value(i, y0)
            assert abs((ahead - behind) / (2 * h) - found.first[i, d]) < 1e-6
            assert abs((ahead + behind - 2 * here) / h**2 - found.hdiag[i, d]) < 1e-5
            slope = (value(i, y[i] + unit) - value(i, y[i] - unit)) / (2 * h)
            assert abs(slope - found.total[i, d]) < 1e-6


def test_remainder_is_of_second_order():
    y0, direction = 0.1 * normal(D), normal(N, D, seed=8)
    whole, half = (
        taylor_of_head(head, "mse", y0 + h * direction, y0, targets("mse")) for h in (2e-3, 1e-3)
    )
    order = (whole.remainder.norm() / half.remainder.norm()).log2().item()
    assert order == pytest.approx(2, abs=0.02)


def test_cross_entropy_is_torchs_and_keeps_its_digits():
    z = normal(C)
    for label in torch.arange(C):
        torch.testing.assert_close(cross_entropy(z, label), F.cross_entropy(z, label))
    saturated = torch.tensor([40.0, 0.0, 1.0], dtype=torch.float64)
    slope = torch.func.grad(cross_entropy)(saturated, torch.tensor(0))
    p = torch.exp(saturated - 40)[1:] / torch.exp(saturated - 40).sum()
    torch.testing.assert_close(slope, torch.cat([-p.sum()[None], p]), rtol=1e-14, atol=0)


def test_gradient_before_batch_norm_by_finite_differences():
    x, G = normal(6, 2), normal(6, 2, seed=1)
    found = before_batch_norm(x, G, 1e-2)

    def after(x):
        centred = x - x.mean(0)
        return (G * centred / (centred.square().mean(0) + 1e-2).sqrt()).sum()

    h = 1e-5
    for i in range(6):
        unit = torch.zeros_like(x)
        unit[i, 1] = h
        assert abs((after(x + unit) - after(x - unit)) / (2 * h) - found[i, 1]) < 1e-8
