"""The standardization phase and its closed-form gradient, against torch's own batch norm."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from bnblind import BadInput, bn_backward, standardize

EPS = st.sampled_from([0.0, 1e-5, 1e-2])
SHAPES = st.one_of(
    st.tuples(st.integers(2, 9), st.integers(1, 6)),
    st.tuples(st.integers(2, 6), st.integers(1, 4), st.integers(1, 5)),
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 4), st.integers(1, 4)),
)


def torchs(x, eps):
    """Torch's batch norm; ``F.batch_norm`` is the same but refuses eps = 0."""
    return torch.batch_norm(x, None, None, None, None, True, 0.1, eps, False)


def columns_first(x):
    """(n, C, *spatial) -> (C, n * positions)."""
    return x.transpose(0, 1).flatten(1)


def features(shape, seed):
    """Channels of different mean and scale, none nearly constant; and a gradient after it."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    channel = (1, shape[1], *[1] * (len(shape) - 2))
    scale = normal(*channel).exp()
    x = scale * (normal(*shape) + 2 * normal(*channel))
    assume(bool((columns_first(x / scale).std(1) > 0.05).all()))
    return x, normal(*shape)


@given(SHAPES, EPS, st.integers(0, 10**6))
def test_forward_is_torchs_batch_norm(shape, eps, seed):
    x, _ = features(shape, seed)
    y, sigma = standardize(x, eps)
    assert (y - torchs(x, eps)).abs().max() <= 1e-12
    biased = columns_first(x).var(1, correction=0)
    torch.testing.assert_close(sigma, (biased + eps).sqrt(), rtol=1e-13, atol=0)


@given(SHAPES, EPS, st.integers(0, 10**6))
def test_backward_is_torchs_batch_norm_for_any_gradient(shape, eps, seed):
    """Both the closed form and autograd through ``standardize``."""
    x, G = features(shape, seed)
    x.requires_grad_()
    reference = torchs(x, eps)
    (expected,) = torch.autograd.grad(reference, x, G)
    y, sigma = standardize(x, eps)
    (by_autograd,) = torch.autograd.grad(y, x, G)
    closed = bn_backward(G, y.detach(), sigma.detach())
    unit = (G.abs().max() / sigma.min()).item()
    assert (by_autograd - expected).abs().max() <= 1e-12 * unit
    assert (closed - expected).abs().max() <= 1e-12 * unit


@given(SHAPES, st.integers(0, 10**6))
def test_gradient_has_no_part_that_is_constant_or_along_y(shape, seed):
    """At eps = 0 what passes is orthogonal to both directions that T1 and T2 name."""
    x, G = features(shape, seed)
    y, sigma = standardize(x, 0.0)
    passed, along = columns_first(bn_backward(G, y, sigma)), columns_first(y)
    unit = (G.abs().max() / sigma.min()).item()
    assert passed.mean(1).abs().max() <= 1e-12 * unit
    assert (passed * along).mean(1).abs().max() <= 1e-12 * unit


def test_dtype_is_kept():
    x = torch.randn(4, 3)
    y, sigma = standardize(x)
    assert y.dtype == sigma.dtype == torch.float32
    assert y.shape == x.shape
    assert sigma.shape == (3,)


def test_default_eps_is_torchs():
    x = 1e-3 * torch.randn(8, 2, dtype=torch.float64)
    expected = torch.nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(standardize(x)[0], expected, rtol=0, atol=1e-12)


def test_a_constant_channel_standardizes_to_zero_with_eps():
    y, _ = standardize(torch.full((5, 2), 0.1, dtype=torch.float64), eps=1e-5)
    assert (y == 0).all()


def test_a_constant_channel_is_refused_without_eps():
    x = torch.randn(5, 4, dtype=torch.float64)
    x[:, [1, 3]] = 0.1
    with pytest.raises(BadInput, match=r"\[1, 3\].*use eps > 0"):
        standardize(x, eps=0.0)


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (torch.zeros(3), r"\(3,\)"),
        (torch.zeros(3, 2, dtype=torch.int64), r"torch\.int64"),
        (torch.zeros(3, 2, dtype=torch.complex64), r"torch\.complex64"),
    ],
)
def test_features_of_a_wrong_kind_are_refused(x, found):
    with pytest.raises(BadInput, match=f"must be floating point.*{found}"):
        standardize(x)


def test_negative_eps_is_refused():
    with pytest.raises(BadInput, match="eps must be >= 0; found -1"):
        standardize(torch.randn(3, 2), eps=-1.0)
