"""The theorem check of the experiments: T1 to T4 hold, and it would notice if they did not."""

import pytest
import torch

from bnblind import BadInput, expand, standardize
from bnblind.experiments import theorems
from bnblind.experiments.theorems import (
    Case,
    leak_by_channel,
    off_diagonal_gradient,
    passing_by_term,
    quadratic_loss,
    theorem_errors,
)

TABLE = [
    Case("bn", loss, n, dim, eps, seed)
    for loss in ("linear", "quadratic", "softmax_mlp")
    for n, dim in ((2, 3), (8, 4), (8, 16), (64, 16))
    for eps in (0.0, 1e-5, 1e-1)
    for seed in (0, 1)
]
CHECKED = {
    "linear": {"T1", "T4"},
    "quadratic": {"T1", "T2", "T3", "T4"},
    "softmax_mlp": {"T1", "T2", "T3", "T4"},
}


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_closed_forms_are_exact(case):
    errors = theorem_errors(case)
    assert set(errors) == CHECKED[case.loss]
    assert max(errors.values()) <= 1e-12


@pytest.mark.parametrize("theorem", ["T1", "T2", "T3"])
def test_a_wrong_closed_form_is_noticed(theorem, monkeypatch):
    """Off by one part in a million of the gradient that would pass without BN."""
    term, right = theorems.THEOREMS[theorem]

    def wrong(expansion, x, eps):
        unit = standardize(x, eps)[0] / standardize(x, eps)[1]
        return right(expansion, x, eps) + 1e-6 * unit

    monkeypatch.setitem(theorems.THEOREMS, theorem, (term, wrong))
    assert theorem_errors(Case("bn", "quadratic", 16, 4, 1e-3, 0))[theorem] > 1e-8


def test_off_diagonal_gradient_vanishes_at_perfect_correlation():
    """T3: each dimension a multiple of one signal, also with a negative sign."""
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(10, 1, generator=generator, dtype=torch.float64)
    slopes = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    x = (signal * slopes + torch.arange(4)).requires_grad_()
    expansion = expand(quadratic_loss(4, generator), torch.zeros(4, dtype=torch.float64))
    y, _ = standardize(x, 0.0)
    before, after = torch.autograd.grad(expansion.terms(y)["offdiag"].sum(), (x, y))
    assert after.abs().max() > 0.1
    assert before.abs().max() < 1e-13
    assert off_diagonal_gradient(expansion, x.detach(), 0.0).abs().max() < 1e-13


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
@pytest.mark.parametrize("loss", ["linear", "quadratic", "softmax_mlp"])
@pytest.mark.parametrize("norm", ["none", "bn_affine", "bn_detached", "bn_frozen"])
def test_controls_pass_every_term_whole(norm, loss, eps):
    shares = passing_by_term(Case(norm, loss, 16, 8, eps, 0))
    assert tuple(shares) == theorems.TERMS_OF[loss]
    assert all(share == pytest.approx(1, abs=1e-9) for share in shares.values())


@pytest.mark.parametrize("loss", ["quadratic", "softmax_mlp"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_bn_passes_of_each_term(loss, seed):
    shares = passing_by_term(Case("bn", loss, 64, 8, 0.0, seed))
    assert shares["first"] < 1e-12
    assert shares["diag"] < 1e-12
    assert 0.01 < shares["offdiag"] < 1


def test_diagonal_leaks_with_eps():
    case = Case("bn", "quadratic", 64, 8, 1e-5, 0)
    var = case.features().var(0, correction=0)
    share = passing_by_term(case)["diag"]
    assert 1e-5 / var.max() * 0.99 < share < 1e-5 / var.min()


@pytest.mark.parametrize("norm", ["ln", "gn", "in", "bn_scale"])
def test_norms_within_a_sample_and_scaling_pass_both_orders(norm):
    shares = passing_by_term(Case(norm, "quadratic", 64, 8, 0.0, 0))
    assert shares["first"] > 0.05
    assert shares["diag"] > 0.05


def test_features_are_what_the_theorems_must_not_depend_on():
    """Means that are not 0, unequal scales, correlations; the same for a seed, else others."""
    case = Case("bn", "linear", 256, 6, 0.0, 3)
    x = case.features()
    assert x.dtype == torch.float64
    assert torch.equal(x, case.features())
    assert not torch.equal(x, Case("bn", "linear", 256, 6, 0.0, 4).features())
    assert x.std(0).max() > 3 * x.std(0).min()
    assert (x.mean(0).abs() > 0.1 * x.std(0)).sum() >= 3
    assert (torch.corrcoef(x.T) - torch.eye(6)).abs().max() > 0.2


def test_unknown_loss_is_refused():
    with pytest.raises(BadInput, match="unknown loss 'hinge'; allowed: linear, quadratic"):
        theorem_errors(Case("bn", "hinge", 8, 4, 0.0, 0))


def test_in_needs_a_dim_that_holds_positions():
    with pytest.raises(BadInput, match="divisible by 8; found 6"):
        passing_by_term(Case("in", "linear", 8, 6, 0.0, 0))
