"""What `split_head` gives back: shapes, dtypes, rows, Gram matrices, estimates and their errors."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import split_head
from tests.helpers.cases import HEADS, C, Case, HeadKind, T, Y, linear, normal
from tests.helpers.dense import EXACT, PARTS, before_batch_norm, taylor_of_head
from tests.helpers.splits import dense_of, gap, split, split_of


@pytest.mark.parametrize("case", [Case("gelu"), Case("relu"), Case("conv_gelu")], ids=str)
def test_hutchinson_covers_the_truth(case):
    """Inside two standard errors in at least nine of ten entries, over repeats; and the errors
    are not overstated: half of one covers a normal estimate in 38 % of the cases.
    """
    dense, inside, within_half = dense_of(case), [], []
    rounding = EXACT * dense.hdiag.abs().max()
    for seed in range(10):
        found = split(case, hdiag=60, seed=seed)
        error = (found.hdiag - dense.hdiag).abs()
        inside.append((error <= 2 * found.hdiag_se + rounding).double().mean())
        within_half.append((error <= 0.5 * found.hdiag_se).double().mean())
    assert torch.stack(inside).mean() >= 0.9
    assert torch.stack(within_half).mean() <= 0.5


def test_hutchinsons_standard_error_is_that_of_few_probes():
    """Squared, it is on average the variance of the estimate; with n for n - 1 it would be half."""
    found = [split(Case("gelu"), hdiag=2, seed=seed) for seed in range(100)]
    stated = torch.stack([one.hdiag_se for one in found]).square().mean(0)
    variance = torch.stack([one.hdiag for one in found]).var(0)
    assert (stated.sum() / variance.sum()).item() == pytest.approx(1, abs=0.2)


def test_hutchinson_leaves_all_but_the_diagonal_exact():
    case = Case("gelu")
    found, dense = split(case, hdiag=20), dense_of(case)
    assert found.method == "Hutchinson: 20 probes for the diagonal"
    for part in ("first", "remainder", "total"):
        error = (getattr(found, part) - getattr(dense, part)).abs().max()
        assert error <= EXACT * dense.largest()
    error = (found.diag + found.offdiag - dense.diag - dense.offdiag).abs().max()
    assert error <= EXACT * dense.largest()
    step = found.y - found.y0
    torch.testing.assert_close(found.diag, step * found.hdiag)


def test_hutchinsons_error_falls_with_the_root_of_the_number_of_probes():
    few, many = (split(Case("gelu"), hdiag=probes).hdiag_se for probes in (50, 800))
    assert (few.mean() / many.mean()).item() == pytest.approx(4, rel=0.15)


def test_hutchinsons_probes_are_the_seeds():
    first, again, other = (split(Case("gelu"), hdiag=5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.hdiag, again.hdiag)
    assert not torch.equal(first.hdiag, other.hdiag)


def test_hutchinsons_probes_depend_on_nothing_that_was_drawn_before():
    """The signs that the seed gives, applied by hand to a Hessian that is known."""
    weights = normal(9, C)
    found = split_head(lambda v: v @ weights, Y, 0 * normal(6, C), loss="mse", hdiag=5, seed=3)
    signs = 2.0 * torch.randint(2, (5, 9), generator=torch.Generator().manual_seed(3)) - 1
    products = signs.double() @ (2 / C * weights @ weights.T)
    torch.testing.assert_close(found.hdiag, (signs * products).mean(0), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("way", ["exact", 7])
@pytest.mark.parametrize("rows", [1, 5, 13])
def test_products_in_pieces_are_those_of_all_at_once(way, rows, monkeypatch):
    """Pieces of the diagonal, and of the probes whose means and spreads are joined."""
    whole = split(Case("gelu"), hdiag=way)
    monkeypatch.setattr("bnblind.exact._rows_at_once", lambda batch: rows)
    pieces = split(Case("gelu"), hdiag=way)
    torch.testing.assert_close(pieces.hdiag, whole.hdiag, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(pieces.hdiag_se, whole.hdiag_se, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("way", ["auto", "exact"])
def test_no_standard_error_where_nothing_is_estimated(way):
    assert split(Case("relu"), hdiag=way).hdiag_se is None


@pytest.mark.parametrize("labels", ["pure", "mixed"])
@pytest.mark.parametrize("head", ["relu", "gelu", "conv_max_pool", "conv_gelu"])
@pytest.mark.parametrize("way", ["auto", "exact", 3])
def test_shapes(head, labels, way):
    case = Case(head, labels=labels)
    found, shape = split(case, hdiag=way), case.kind.shape
    for field in ("y", *PARTS):
        assert getattr(found, field).shape == (case.n, *shape)
    assert found.y0.shape == shape
    assert found.sigma.shape == shape[:1]
    differs = labels == "mixed" and not found.method.startswith("fused")
    assert found.hdiag.shape == ((case.n, *shape) if differs else shape)
    assert (found.hdiag_se is None) == (way != 3)
    if way == 3:
        assert found.hdiag_se.shape == found.hdiag.shape
    assert found.gram_y.shape == found.gram_x.shape == (5, 5)
    assert not any(getattr(found, field).requires_grad for field in ("y", "hdiag", *PARTS))


@pytest.mark.parametrize(
    ("head", "loss"), [("gelu", "cross_entropy"), ("relu", "log_cosh"), ("tanh", "mse")]
)
def test_hessians_diagonal_is_each_samples_own(head, loss):
    """Of curved heads, and of losses whose curvature depends on the target."""
    found, dense = split_of(Case(head, loss)), dense_of(Case(head, loss))
    assert found.hdiag.shape == found.y.shape
    assert (dense.hdiag[0] - dense.hdiag[1]).abs().max() > 0.01 * dense.hdiag.abs().max()
    torch.testing.assert_close(found.hdiag, dense.hdiag, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", [Case("relu"), Case("conv_gelu")], ids=str)
def test_gram_matrices_are_inner_products(case):
    found, built = split_of(case), case.build()
    after = [getattr(found, part) for part in PARTS]
    before = [before_batch_norm(built.x, G, case.eps) for G in after]
    for gram, tensors in ((found.gram_y, after), (found.gram_x, before)):
        expected = torch.tensor([[(a * b).sum() for b in tensors] for a in tensors])
        assert gram.dtype == torch.float64
        unit = expected.diagonal().max().item()
        torch.testing.assert_close(gram, expected.double(), rtol=0, atol=1e-6 * unit)
        exact = torch.stack([torch.stack([(a * b).sum() for b in tensors]) for a in tensors])
        torch.testing.assert_close(gram, exact, rtol=0, atol=1e-12 * unit)


def test_without_sigma_nothing_is_known_before_the_layer():
    found = split(Case("relu"), sigma=None)
    assert found.sigma is None
    assert found.gram_x is None
    assert found.carry is None


def test_gram_matrices_survive_what_the_caller_does_to_the_features():
    """They are computed on first access; the features may have been overwritten by then."""
    built = Case("relu").build()
    y, sigma = built.y.clone(), built.sigma.clone()
    found = split_head(built.head, y, built.target, sigma=sigma)
    expected = split_head(built.head, built.y, built.target, sigma=built.sigma).gram_x
    y.relu_()
    sigma.zero_()
    torch.testing.assert_close(found.gram_x, expected, rtol=0, atol=0)


def test_the_point_survives_what_the_caller_does_to_its_own():
    built = Case("relu").build()
    y0 = built.y0 + 1
    found = split_head(built.head, built.y, built.target, y0)
    y0.zero_()
    assert torch.equal(found.y0, built.y0 + 1)


def test_y0_is_zero_unless_said_otherwise():
    built = Case("relu").build()
    found = split_head(built.head, built.y, built.target)
    assert torch.equal(found.y0, torch.zeros(9, dtype=torch.float64))
    other = split_head(built.head, built.y, built.target, built.y0 + 1)
    assert torch.equal(other.y0, built.y0 + 1)


@pytest.mark.parametrize("head", ["relu", "gelu", "conv_max_pool"])
def test_float32_on_request(head):
    case = Case(head)
    found, dense = split(case, dtype=torch.float32), dense_of(case)
    assert {getattr(found, f).dtype for f in ("y", "y0", "hdiag", *PARTS)} == {torch.float32}
    assert found.gram_y.dtype == torch.float64
    assert found.method.split(":")[0] == ("fused" if case.kind.piecewise else "exact")
    assert not gap(found, dense, allowed=1e-5)


def test_float32_head_gives_what_its_float64_copy_gives():
    built = Case("gelu").build()
    head = HEADS["gelu"].build().float()
    wide = HEADS["gelu"].build().float().double()
    narrow_y = built.y.float()
    found = split_head(head, narrow_y, built.target)
    expected = split_head(wide, narrow_y.double(), built.target)
    for part in PARTS:
        assert torch.equal(getattr(found, part), getattr(expected, part))
    assert next(head.parameters()).dtype == torch.float32


@pytest.mark.parametrize("head", ["relu", "gelu"])
@pytest.mark.parametrize("integer", [torch.int32, torch.int64])
def test_targets_may_be_any_integers(head, integer):
    built = Case(head).build()
    found = split_head(built.head, built.y, built.target.to(integer))
    expected = split_head(built.head, built.y, built.target)
    assert torch.equal(found.total, expected.total)


def test_repeated_samples_have_the_same_rows():
    built = Case("gelu").build()
    twice = [0, 0, 1, 0]
    found = split_head(built.head, built.y[twice], built.target[twice])
    for part in PARTS:
        rows = getattr(found, part)
        torch.testing.assert_close(rows[0], rows[1], rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(rows[0], rows[3], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("way", ["auto", "exact", 3])
def test_one_sample_is_enough(way):
    built = Case("relu").build()
    found = split_head(built.head, built.y[:1], built.target[:1], hdiag=way)
    both = split_head(built.head, built.y, built.target, hdiag="exact")
    torch.testing.assert_close(found.total, both.total[:1], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found.first, both.first[:1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_one_output_is_enough(activation):
    """A logistic regression by a callable; the cross-entropy of one class is 0."""

    def logistic(z, target):
        return F.softplus(z[:, 0]) - target * z[:, 0]

    layers = HeadKind(lambda: [nn.Linear(9, 5), activation(), nn.Linear(5, 1)], True).build()
    y, target = normal(6, 9), (torch.arange(6) % 2).double()
    found = split_head(layers, y, target, loss=logistic)
    dense = taylor_of_head(layers, logistic, y, torch.zeros(9, dtype=torch.float64), target)
    assert not gap(found, dense)
    nothing = split_head(layers, y, torch.zeros(6, dtype=torch.int64))
    assert all(not getattr(nothing, part).any() for part in PARTS)
    assert nothing.method.startswith("fused")


@pytest.mark.parametrize("way", ["auto", "exact", 3])
def test_a_loss_without_a_slope_gives_zeros(way):
    found = split_head(linear, Y, T, hdiag=way, loss=lambda z, target: torch.ones(len(z)).to(z))
    assert all(not getattr(found, part).any() for part in (*PARTS, "hdiag"))


@pytest.mark.parametrize("way", ["auto", "exact", 3])
def test_a_head_without_a_slope_gives_zeros(way):
    found = split_head(
        lambda v: torch.ones(len(v), C, dtype=v.dtype), normal(4, 3), torch.arange(4), hdiag=way
    )
    assert all(not getattr(found, part).any() for part in PARTS)
