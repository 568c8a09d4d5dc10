"""`blocked`: the shares of a gradient that batch norm blocks, each against its definition."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnblind import BadInput, blocked, standardize
from tests.helpers.dense import before_batch_norm

EPS = (0.0, 1e-5, 1e-2, 1.0)
SHAPES = st.one_of(
    st.tuples(st.integers(3, 9), st.integers(1, 5)),
    st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(2, 5)),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(2, 3), st.integers(2, 3)),
)


def normal(*size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


def features(shape, eps, seed=0):
    """x, y, sigma and a gradient; channels of unequal scale and mean."""
    channels = (1, shape[1], *[1] * (len(shape) - 2))
    x = normal(*channels, seed=seed + 1).exp() * (normal(*shape, seed=seed) + 2)
    y, sigma = standardize(x, eps)
    return x, y, sigma, normal(*shape, seed=seed + 2) + 0.3


def columns(x):
    """(n, C, *spatial) -> (C, n * positions)."""
    return x.transpose(0, 1).flatten(1)


@given(SHAPES, st.sampled_from(EPS), st.integers(0, 10**6))
def test_shares_add_to_one(shape, eps, seed):
    _, y, _, G = features(shape, eps, seed)
    shares = blocked(G, y)
    assert (shares.mean + shares.scale + shares.passing - 1).abs().max() < 1e-12
    for share in (shares.mean, shares.scale, shares.passing):
        assert share.shape == (shape[1],)
        assert share.min() >= 0
    torch.testing.assert_close(shares.total, columns(G).square().sum(1))


@given(SHAPES, st.sampled_from(EPS), st.integers(0, 10**6))
def test_passing_is_what_torchs_backward_lets_through(shape, eps, seed):
    x, y, sigma, G = features(shape, eps, seed)
    through = sigma[:, None] * columns(before_batch_norm(x, G, eps))
    expected = through.square().sum(1) / columns(G).square().sum(1)
    # What arrives is the small difference of large numbers where x has a small scale.
    assert (blocked(G, y).passing - expected).abs().max() < 1e-10


@pytest.mark.parametrize("eps", EPS)
@pytest.mark.parametrize("shape", [(7, 4), (5, 3, 2, 3)])
def test_blocked_shares_are_projections(shape, eps):
    """Onto the constant; and onto y, of which eps > 0 lets m (2 - m) be blocked only."""
    x, y, _, G = features(shape, eps)
    rows, along = columns(G), columns(y)
    energy = rows.square().sum(1)
    mean = rows.mean(1).square() * rows.shape[1] / energy
    direction = along / along.norm(dim=1, keepdim=True)
    projection = (direction * rows).sum(1).square() / energy
    var = columns(x).var(1, correction=0)
    m = var / (var + eps)
    shares = blocked(G, y)
    torch.testing.assert_close(shares.mean, mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(shares.scale, m * (2 - m) * projection, rtol=1e-11, atol=1e-14)
    if eps == 0:
        torch.testing.assert_close(shares.scale, projection, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("shape", [(7, 4), (5, 4, 2, 3)])
def test_pure_directions(shape):
    """A constant gradient is blocked by the centering, one along y by the scaling."""
    _, y, _, G = features(shape, 0.0)
    for gradient, name in ((torch.ones_like(y), "mean"), (y, "scale")):
        shares = blocked(gradient, y)
        for share in ("mean", "scale", "passing"):
            expected = torch.full((4,), float(share == name), dtype=torch.float64)
            torch.testing.assert_close(getattr(shares, share), expected, rtol=0, atol=1e-12)
    rows, along = columns(G), columns(y)
    rest = rows - rows.mean(1, keepdim=True) - along * (along * rows).mean(1, keepdim=True)
    orthogonal = rest.unflatten(1, (shape[0], *shape[2:])).transpose(0, 1)
    assert (blocked(orthogonal, y).passing - 1).abs().max() < 1e-12


def test_a_channel_without_gradient_has_no_shares():
    _, y, _, G = features((6, 3), 1e-5)
    G[:, 1] = 0
    shares = blocked(G, y)
    for share in (shares.mean, shares.scale, shares.passing):
        assert share.isnan().tolist() == [False, True, False]
    assert shares.total[1] == 0


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("shape", [(7, 4), (5, 4, 2, 3)])
def test_layer_pools_by_energy(shape, silent):
    """The shares of the whole |G|^2; a channel without gradient has no say."""
    x, y, sigma, G = features(shape, 1e-5)
    G[:, 2] *= 0 if silent else 100
    pooled = blocked(G, y).layer()
    through = before_batch_norm(x, G, 1e-5)
    through = through * sigma.view(1, -1, *[1] * (len(shape) - 2))
    energy = G.square().sum()
    rows = columns(G)
    mean = (rows.mean(1).square() * rows.shape[1]).sum() / energy
    torch.testing.assert_close(pooled.total, energy)
    torch.testing.assert_close(pooled.passing, through.square().sum() / energy)
    torch.testing.assert_close(pooled.mean, mean)
    assert (pooled.mean + pooled.scale + pooled.passing - 1).abs() < 1e-12
    assert pooled.mean.shape == pooled.total.shape == ()


def test_layer_without_any_gradient_has_no_shares():
    _, y, _, G = features((6, 3), 1e-5)
    pooled = blocked(0 * G, y).layer()
    assert pooled.total == 0
    assert all(share.isnan() for share in (pooled.mean, pooled.scale, pooled.passing))


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf")])
def test_layer_does_not_leave_out_what_is_not_finite(spoiled):
    _, y, _, G = features((6, 3), 1e-5)
    G[0, 1] = spoiled
    pooled = blocked(G, y).layer()
    assert pooled.passing.isnan()


@pytest.mark.parametrize(
    ("dtype", "scale", "allowed"),
    [
        (torch.float64, 1e-170, 1e-12),
        (torch.float64, 1e170, 1e-12),
        (torch.float32, 1e-22, 1e-5),
        (torch.float32, 1e22, 1e-5),
    ],
)
def test_shares_do_not_depend_on_the_gradients_scale(dtype, scale, allowed):
    """Saturated networks have gradients whose square is no number any more."""
    _, y, _, G = features((6, 3), 1e-5)
    expected, found = blocked(G, y), blocked((scale * G).to(dtype), y.to(dtype))
    for share in ("mean", "scale", "passing"):
        gap = getattr(found, share).double() - getattr(expected, share)
        assert gap.abs().max() < allowed


def test_first_order_term_is_blocked_by_the_centering_alone():
    """T1: every sample has the same gradient."""
    _, y, _, G = features((6, 3), 1e-2)
    shares = blocked(G[:1].expand(6, 3), y)
    torch.testing.assert_close(shares.mean, torch.ones(3, dtype=torch.float64))
    assert shares.passing.max() < 1e-28


@pytest.mark.parametrize("eps", [1e-5, 1e-2, 1.0])
def test_diagonal_term_leaks_as_the_closed_form_says(eps):
    """T2: as amplitude eps / (var + eps), so its square here."""
    x, y, _, _ = features((6, 3), eps)
    leak = eps / (x.var(0, correction=0) + eps)
    shares = blocked(normal(3, seed=9) * y, y)
    torch.testing.assert_close(shares.passing, leak.square(), rtol=1e-9, atol=1e-28)


def test_dtype_is_kept():
    _, y, _, G = features((6, 3), 1e-5)
    assert blocked(G.float(), y.float()).passing.dtype == torch.float32


@pytest.mark.parametrize(
    ("shape_g", "shape_y"), [((6, 3), (6, 4)), ((6, 3), (6, 3, 1)), ((6,), (6,))]
)
def test_shapes_that_do_not_fit_are_refused(shape_g, shape_y):
    with pytest.raises(BadInput, match=r"one shape \(n, C, \*spatial\); found") as refusal:
        blocked(torch.zeros(shape_g), torch.zeros(shape_y))
    assert str(shape_g) in str(refusal.value)
    assert str(shape_y) in str(refusal.value)


def test_integers_are_refused():
    with pytest.raises(BadInput, match=r"floating point; found torch.int64"):
        blocked(torch.ones(4, 3, dtype=torch.long), torch.ones(4, 3))
