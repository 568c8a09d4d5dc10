"""The theorem check of the experiments: T1 to T4 hold, and it would notice if they did not."""

from itertools import product

import pytest
import torch

from bnblind import BadInput, blocked, bn_backward, standardize
from bnblind.experiments import theorem_check
from bnblind.experiments.synthetic import SHARED_LOSSES, features, quadratic, shared_loss
from bnblind.experiments.theorem_check import (
    POINTS,
    Case,
    derivatives_at,
    leak_by_channel,
    off_diagonal_gradient,
    passing_by_term,
    random_hessian_shares,
    split,
    theorem_errors,
)

SIZES = [(2, 3), (8, 4), (8, 16), (64, 16)]
TABLE = [
    Case("bn", loss, y0, *size, eps, seed)
    for seed, (loss, y0, size, eps) in enumerate(
        product(SHARED_LOSSES, POINTS, SIZES, (0.0, 1e-5, 1e-1))
    )
]
"""Every combination once, each with features, losses and points of its own seed."""
CHECKED = {"first": {"T1"}, "diag": {"T2"}, "offdiag": {"T3"}, "remainder": set()}


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_closed_forms_are_exact(case):
    errors = theorem_errors(case)
    terms = shared_loss(case.loss, case.dim, case.seed).terms
    expected = set().union(*(CHECKED[term] for term in terms)) | {"T4"}
    # In its linear range the Huber loss has no second-order terms.
    assert set(errors) == expected or (case.loss == "huber" and set(errors) == {"T1", "T4"})
    assert max(errors.values()) <= 1e-12


@pytest.mark.parametrize("theorem", ["T1", "T2", "T3"])
def test_a_wrong_closed_form_is_noticed(theorem, monkeypatch):
    """Off by one part in a million of the gradient that would pass without BN."""
    term, right = theorem_check.THEOREMS[theorem]

    def wrong(at, x, eps):
        unit = standardize(x, eps)[0] / standardize(x, eps)[1]
        return right(at, x, eps) + 1e-6 * unit

    monkeypatch.setitem(theorem_check.THEOREMS, theorem, (term, wrong))
    assert theorem_errors(Case("bn", "quadratic", "random", 16, 4, 1e-3, 0))[theorem] > 1e-8


def test_off_diagonal_gradient_vanishes_at_perfect_correlation():
    """T3: each dimension a multiple of one signal, also with a negative sign."""
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(10, 1, generator=generator, dtype=torch.float64)
    slopes = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    x = (signal * slopes + torch.arange(4)).requires_grad_()
    loss, y0 = quadratic(4, generator), torch.zeros(4, dtype=torch.float64)
    y, _ = standardize(x, 0.0)
    after = split(loss, y.detach(), y0).offdiag
    (before,) = torch.autograd.grad(y, x, after)
    assert after.abs().max() > 0.1
    assert before.abs().max() < 1e-13
    stated = off_diagonal_gradient(derivatives_at(loss, y0), x.detach(), 0.0)
    assert stated.abs().max() < 1e-13


@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_measured_leak_is_the_stated_one(eps):
    stds = torch.logspace(-4, 1, 26, dtype=torch.float64)
    rows = list(leak_by_channel(eps, stds, 64, seed=10))
    assert len(rows) == 26
    for (std, measured, stated), nominal in zip(rows, stds.tolist(), strict=True):
        assert std == pytest.approx(nominal, rel=0.5)
        assert stated == pytest.approx(eps / (std**2 + eps), rel=1e-12)
        if measured > 1e-9:
            assert measured == pytest.approx(stated, rel=1e-6)
    assert rows[0][1] > 0.99
    assert rows[-1][1] < 1e-4


@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("loss", SHARED_LOSSES)
@pytest.mark.parametrize("norm", ["none", "bn_affine", "bn_detached", "bn_frozen"])
def test_controls_pass_every_term_whole(norm, loss, eps):
    shares = passing_by_term(Case(norm, loss, "zero", 16, 8, eps, 1))
    terms = shared_loss(loss, 8, 1).terms
    second = ("second",) if {"diag", "offdiag"} <= {*terms} else ()
    assert tuple(shares) == (*terms, *second, "total")
    assert all(share == pytest.approx(1, abs=1e-9) for share in shares.values())


@pytest.mark.parametrize("loss", ["quadratic", "gaussian_nll", "softmax_gelu"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_bn_passes_of_each_term(loss, seed):
    shares = passing_by_term(Case("bn", loss, "mean", 64, 8, 0.0, seed))
    assert shares["first"] < 1e-12
    assert shares["diag"] < 1e-12
    assert 0.01 < shares["offdiag"] < 1


@pytest.mark.parametrize("loss", ["quadratic", "gaussian_nll", "softmax_gelu"])
def test_of_the_second_order_bn_passes_what_it_passes_of_the_off_diagonal(loss):
    """The diagonal is blocked at eps = 0, so what passes of both is what passes of one."""
    case = Case("bn", loss, "random", 64, 8, 0.0, 2)
    y, _ = standardize(case.features(), case.eps)
    terms = split(case.shared_loss(), y, case.point(y))
    shares = passing_by_term(case)
    both, one = (terms.diag + terms.offdiag).norm(), terms.offdiag.norm()
    assert abs(both / one - 1) > 0.01
    assert shares["second"] * both.item() == pytest.approx(shares["offdiag"] * one.item(), rel=1e-9)


@pytest.mark.parametrize("loss", SHARED_LOSSES)
def test_what_bn_passes_of_the_whole_is_what_t4_says(loss):
    case = Case("bn", loss, "zero", 16, 8, 1e-2, 4)
    y, _ = standardize(case.features(), case.eps)
    of_loss = case.shared_loss()
    leaf = y.requires_grad_()
    (G,) = torch.autograd.grad(of_loss.values(leaf).sum(), leaf)
    stated = blocked(G, y.detach()).layer().passing.sqrt().item()
    assert passing_by_term(case)["total"] == pytest.approx(stated, rel=1e-9, abs=1e-14)


def test_diagonal_leaks_with_eps():
    case = Case("bn", "quadratic", "zero", 64, 8, 1e-5, 0)
    var = case.features().var(0, correction=0)
    share = passing_by_term(case)["diag"]
    assert 1e-5 / var.max() * 0.99 < share < 1e-5 / var.min()


@pytest.mark.parametrize("norm", ["ln", "gn", "in", "bn_scale"])
def test_norms_within_a_sample_and_scaling_pass_both_orders(norm):
    shares = passing_by_term(Case(norm, "quadratic", "zero", 64, 8, 0.0, 0))
    assert shares["first"] > 0.05
    assert shares["diag"] > 0.05


def test_features_are_what_the_theorems_must_not_depend_on():
    """Means that are not 0, unequal scales, correlations; the same for a seed, else others."""
    case = Case("bn", "linear", "zero", 256, 6, 0.0, 3)
    x = case.features()
    assert x.dtype == torch.float64
    assert torch.equal(x, case.features())
    assert not torch.equal(x, Case("bn", "linear", "zero", 256, 6, 0.0, 4).features())
    assert x.std(0).max() > 3 * x.std(0).min()
    assert (x.mean(0).abs() > 0.1 * x.std(0)).sum() >= 3
    assert (torch.corrcoef(x.T) - torch.eye(6)).abs().max() > 0.2


def test_unknown_loss_is_refused():
    with pytest.raises(BadInput, match="unknown loss 'hinge'; allowed: linear, quadratic"):
        theorem_errors(Case("bn", "hinge", "zero", 8, 4, 0.0, 0))


def test_in_needs_a_dim_that_holds_positions():
    with pytest.raises(BadInput, match="divisible by 8; found 6"):
        passing_by_term(Case("in", "linear", "zero", 8, 6, 0.0, 0))


def test_unknown_expansion_point_is_refused():
    with pytest.raises(BadInput, match="unknown y0 'middle'; allowed: zero, mean, random"):
        passing_by_term(Case("bn", "linear", "middle", 8, 4, 0.0, 0))


def test_derivatives_read_off_a_split_are_those_of_the_dense_hessian():
    loss, y0 = shared_loss("softmax_gelu", 6, 0), torch.linspace(-1, 1, 6, dtype=torch.float64)
    H = torch.func.hessian(lambda y: loss.values(y[None])[0])(y0)
    found = derivatives_at(loss, y0)
    torch.testing.assert_close(found.off_diagonal + found.diagonal.diag(), H, rtol=0, atol=1e-14)


def test_the_leak_is_measured_and_not_computed(monkeypatch):
    """Of a layer with four times the eps the leak is four times as large; what is stated stays."""
    monkeypatch.setattr(theorem_check, "standardize", lambda x, eps: standardize(x, 4 * eps))
    for std, measured, stated in leak_by_channel(1e-5, torch.ones(8).double(), 64, seed=1):
        assert measured == pytest.approx(4e-5 / (std**2 + 4e-5), rel=1e-6)
        assert stated == pytest.approx(1e-5 / (std**2 + 1e-5), rel=1e-12)


def test_a_wrong_closed_form_of_the_whole_is_seen(monkeypatch):
    def wrong(*args):
        return 1.01 * bn_backward(*args)

    case = Case("bn", "softmax_gelu", "zero", 16, 8, 1e-5, 1)
    assert theorem_errors(case)["T4"] < 1e-12
    monkeypatch.setattr(theorem_check, "bn_backward", wrong)
    assert theorem_errors(case)["T4"] > 1e-4


@pytest.mark.parametrize("mixing", [0.0, 0.5])
def test_random_hessians_pass_as_t3_states(mixing: float) -> None:
    """Also by drawing Hessians: the mean over many comes near the expectation."""
    found = random_hessian_shares(8, 8, 3, mixing)
    for passes, stated in found.values():
        assert passes == pytest.approx(stated, rel=1e-12)
    x = features(8, 8, 3, mixing).requires_grad_()
    y, sigma = standardize(x, 0.0)
    generator, passes, arrives = torch.Generator().manual_seed(0), 0.0, 0.0
    for _ in range(400):
        H = torch.randn(8, 8, generator=generator, dtype=torch.float64).triu()
        H = H + H.triu(1).T
        after = y.detach() @ H
        (before,) = torch.autograd.grad(y, x, after, retain_graph=True)
        passes += (sigma * before).square().sum().item()
        arrives += after.square().sum().item()
    assert passes / arrives == pytest.approx(found["second"][0], rel=0.03)
    assert found["second"][0] < found["offdiag"][0] < 1


def test_independent_features_let_pass_what_their_number_says() -> None:
    """1 - 1/(n - 1) in the mean over seeds, whatever D is."""
    for n, dim in ((8, 8), (8, 32), (64, 8)):
        shares = [random_hessian_shares(n, dim, seed, 0.0)["offdiag"][0] for seed in range(20)]
        assert sum(shares) / 20 == pytest.approx(1 - 1 / (n - 1), abs=0.02)
