"""The Taylor split of a sample's loss."""

import pytest
import torch

from bnblind import BadInput, expand
from bnblind.taylor import TERMS

D = 6


def normal(*size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


W1, b, W2 = normal(9, D, seed=1), normal(9, seed=2), normal(4, 9, seed=3)


def smooth_loss(y):
    """Not a polynomial: every derivative is there."""
    return torch.logsumexp(W2 @ torch.nn.functional.gelu(W1 @ y + b), 0)


def test_expansion_of_a_quadratic_is_the_quadratic():
    """At a point that is not 0, with a matrix that is not symmetric."""
    a, B, y0 = normal(D), normal(D, D, seed=1), normal(D, seed=2)
    H = (B + B.T) / 2
    found = expand(lambda y: 3.0 + a @ y + 0.5 * y @ B @ y, y0)
    close(found.value, 3.0 + a @ y0 + 0.5 * y0 @ H @ y0)
    close(found.gradient, a + H @ y0)
    close(found.hessian, H)

    y = normal(5, D, seed=3)
    terms = found.terms(y)
    for i in range(len(y)):
        s = y[i] - y0
        close(terms["first"][i], sum((a + H @ y0)[d] * s[d] for d in range(D)))
        close(terms["diag"][i], 0.5 * sum(H[d, d] * s[d] ** 2 for d in range(D)))
        pairs = [(d, e) for d in range(D) for e in range(D) if d != e]
        close(terms["offdiag"][i], 0.5 * sum(H[d, e] * s[d] * s[e] for d, e in pairs))
    assert terms["remainder"].abs().max() < 1e-12


def test_terms_sum_to_the_loss():
    found, y = expand(smooth_loss, normal(D)), normal(5, D, seed=8)
    terms = found.terms(y)
    assert tuple(terms) == TERMS
    close(found.value + sum(terms.values()), torch.stack([smooth_loss(row) for row in y]))


def test_each_term_has_its_order():
    """Halving the step divides first, second-order terms and remainder by 2, 4 and 8: the
    remainder, found by subtraction, is not a place where an error of the others can hide.
    """
    y0, direction = 0.1 * normal(D), normal(20, D, seed=8)
    found = expand(smooth_loss, y0)
    whole, half = (found.terms(y0 + step * direction) for step in (4e-3, 2e-3))
    for name, ratio in (("first", 2.0), ("diag", 4.0), ("offdiag", 4.0)):
        torch.testing.assert_close(whole[name] / half[name], torch.full((20,), ratio).double())
    ratios = whole["remainder"] / half["remainder"]
    assert ratios.median().item() == pytest.approx(8, rel=0.02)
    assert whole["remainder"].abs().min() > 0


def test_terms_carry_a_gradient_to_the_features():
    found, y = expand(smooth_loss, normal(D)), normal(5, D, seed=8).requires_grad_()
    (slope,) = torch.autograd.grad(sum(t.sum() for t in found.terms(y).values()), y)
    expected = torch.stack([torch.func.grad(smooth_loss)(row) for row in y.detach()])
    close(slope, expected)


def test_derivatives_are_constants():
    found = expand(smooth_loss, normal(D).requires_grad_())
    for tensor in (found.value, found.gradient, found.hessian):
        assert not tensor.requires_grad


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused(value):
    with pytest.raises(BadInput, match=f"must be finite; found {value}"):
        expand(lambda y: y.sum() + value, normal(D))


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_an_expansion_point_that_is_no_vector_is_refused(shape):
    with pytest.raises(BadInput, match=r"must have shape \(D,\)"):
        expand(smooth_loss, torch.zeros(shape, dtype=torch.float64))
