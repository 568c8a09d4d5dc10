"""T1 to T4 checked in float64 on synthetic features, for every norm variant.

All samples of a batch share one loss of their normalized features (the theorems' hypothesis).
The engine splits it (:func:`bnblind.split_head`); each term's gradient is carried to the
features before the norm by autograd and compared with the closed forms.
See docs/theory.md for the statements.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bnblind.errors import BadInput, unknown
from bnblind.experiments.randomness import stream
from bnblind.experiments.synthetic import SharedLoss, features, quadratic, shared_loss
from bnblind.norms import Norm, build_norm, freeze_statistics, norm_class
from bnblind.split import Split, split_head
from bnblind.standardization import bn_backward, square_root, standardize

POSITIONS = 8

# Where to expand, given the normalized features (n, D) of the batch and a random generator.
POINTS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "zero": lambda y, generator: torch.zeros_like(y[0]),
    "mean": lambda y, generator: y.mean(0),
    "random": lambda y, generator: torch.randn(
        y.shape[1], generator=generator, dtype=torch.float64
    ),
}


@dataclass(frozen=True)
class Case:
    """One batch of synthetic features, one loss of them and one point to expand it at."""

    norm: str
    loss: str
    y0: str
    batch_size: int
    dim: int
    eps: float
    seed: int

    def features(self) -> Tensor:
        """(batch_size, dim) float64."""
        return features(self.batch_size, self.dim, self.seed)

    def shared_loss(self) -> SharedLoss:
        return shared_loss(self.loss, self.dim, self.seed)

    def point(self, y: Tensor) -> Tensor:
        """(D,) where to expand, for normalized features ``y`` (n, D)."""
        if self.y0 not in POINTS:
            raise unknown("y0", self.y0, POINTS)
        return POINTS[self.y0](y, stream(self.seed, "y0", self.dim))

    def feature_shape(self) -> tuple[int, ...]:
        """One sample's features as the norm sees them: ``in`` gets 8 positions per channel."""
        if not norm_class(self.norm).needs_positions:
            return (self.dim,)
        if self.dim % POSITIONS:
            raise BadInput(
                f"norm {self.norm!r} needs a dim divisible by {POSITIONS}; found {self.dim}"
            )
        return (self.dim // POSITIONS, POSITIONS)


def split(loss: SharedLoss, y: Tensor, y0: Tensor) -> Split:
    """The loss of ``y`` (n, D), split at ``y0`` (D,); raises BadInput if ``y0`` lies on a kink,
    where the terms are not defined.
    """
    found = split_head(loss.head, y, loss.targets(len(y)), y0, loss=loss.loss)
    if found.undefined:
        raise BadInput(f"the expansion point lies on {found.kinks} kinks of the loss")
    return found


def standardize_by(norm: Norm, x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The standardized features, and the scale that ``x`` was divided by. Of ``bn_affine``, which
    has no standardization phase, the affine phase's output with random weights and biases; it
    divides by 1 / weight.
    """
    if type(norm).statistics is Norm.statistics and list(norm.parameters()):
        generator = stream(seed, "affine")
        with torch.no_grad():
            norm.weight.normal_(generator=generator)
            norm.bias.normal_(generator=generator)
        return norm.affine(x), 1 / norm.weight.detach()
    # Of a copy: it updates buffers, which autograd keeps.
    scale = copy.deepcopy(norm).statistics(x.detach())[1].detach()
    return norm.standardize(x), scale


def passing_by_term(case: Case) -> dict[str, float]:
    """For each Taylor term, the second order as one (``second``) and the whole loss (``total``),
    what passes the norm.

    The share of its gradient's length, sigma |d term / dX| / |d term / dY|, Frobenius norms over
    the batch, each entry of dX times the scale that the norm divided it by; 1 where nothing is
    blocked. A term that happens to be zero (a Huber loss in its linear range) is left out.
    """
    shape = case.feature_shape()
    norm = build_norm(case.norm, shape, case.eps).double().train()
    x = case.features().unflatten(1, shape).requires_grad_()
    freeze_statistics(norm, x.detach())
    y, scale = standardize_by(norm, x, case.seed)
    rows = y.detach().flatten(1)
    loss = case.shared_loss()
    terms = split(loss, rows, case.point(rows))
    gradients = {name: getattr(terms, name) for name in loss.terms}
    if {"diag", "offdiag"} <= set(loss.terms):
        gradients["second"] = terms.diag + terms.offdiag
    gradients["total"] = terms.total
    passing = {}
    for name, gradient in gradients.items():
        after = gradient.view_as(y)
        if bool(after.any()):
            (before,) = torch.autograd.grad(y, x, after, retain_graph=True)
            passing[name] = ((scale * before).norm() / after.norm()).item()
    return passing


@dataclass(frozen=True)
class Derivatives:
    """What the closed forms need of the loss at the expansion point."""

    diagonal: Tensor
    """(D,) of the Hessian."""
    off_diagonal: Tensor
    """(D, D) the Hessian with zeros on its diagonal."""


def derivatives_at(loss: SharedLoss, y0: Tensor) -> Derivatives:
    """Read off a split of a batch of its own: at y0 + e_d, ``offdiag`` is the d-th row of H."""
    units = torch.eye(len(y0), dtype=y0.dtype)
    found = split(loss, y0 + units, y0)
    return Derivatives(found.hdiag, found.offdiag)


def first_order_gradient(at: Derivatives, x: Tensor, eps: float) -> Tensor:
    """T1: zero for every loss, all features and every eps."""
    return torch.zeros_like(x)


def diagonal_gradient(at: Derivatives, x: Tensor, eps: float) -> Tensor:
    """T2: the leak H_dd eps (x_id - mu_d) / (var_d + eps)^2, zero at eps = 0."""
    var, mean = torch.var_mean(x, dim=0, correction=0)
    return at.diagonal * eps * (x - mean) / (var + eps).square()


def off_diagonal_gradient(at: Derivatives, x: Tensor, eps: float) -> Tensor:
    """T3: (1/sigma_d) sum_{e != d} H_de (y_e - r_de y_d), r_de the mean of y_d y_e."""
    y, sigma = standardize(x, eps)
    r = y.T @ y / len(y)
    return (y @ at.off_diagonal - y * (at.off_diagonal * r).sum(1)) / sigma


THEOREMS: dict[str, tuple[str, Callable[[Derivatives, Tensor, float], Tensor]]] = {
    "T1": ("first", first_order_gradient),
    "T2": ("diag", diagonal_gradient),
    "T3": ("offdiag", off_diagonal_gradient),
}


def theorem_errors(case: Case) -> dict[str, float]:
    """For each theorem, the largest deviation of autograd's gradient from the closed form, as a
    share of the largest entry of G / sigma, the gradient that would pass if the batch statistics
    were constants. T4 is the closed form of the whole loss against autograd.
    """
    x = case.features().requires_grad_()
    y, sigma = standardize(x, case.eps)
    rows, loss = y.detach(), case.shared_loss()
    y0 = case.point(rows)
    terms, at = split(loss, rows, y0), derivatives_at(loss, y0)
    errors = {}
    for theorem, (name, closed_form) in THEOREMS.items():
        after = getattr(terms, name)
        if name in loss.terms and bool(after.any()):
            (before,) = torch.autograd.grad(y, x, after, retain_graph=True)
            stated = closed_form(at, x.detach(), case.eps)
            errors[theorem] = _deviation(before, stated, after / sigma)
    (before,) = torch.autograd.grad(loss.values(y).sum(), x)
    stated = bn_backward(terms.total, rows, sigma.detach())
    errors["T4"] = _deviation(before, stated, terms.total / sigma)
    return errors


def random_hessian_shares(
    batch_size: int, dim: int, seed: int, mixing: float
) -> dict[str, tuple[float, float]]:
    """What passes BN (eps = 0) of the second-order terms of random Hessians whose entries are
    uncorrelated and of equal variance, as a share of the expected squared gradient; ``mixing`` is
    of the features, 0: independent ones. The expectation is a sum over single entries, so it is
    exact; each entry's gradient goes through autograd.

    ``offdiag``: of the off-diagonal term, and what T3 states, 1 - mean rho^2 over all pairs of
    features; ``second``: of both terms as one, and (1 - 1 / dim) of that, since the diagonal is
    blocked (T2).
    """
    x = features(batch_size, dim, seed, mixing).requires_grad_()
    y, sigma = standardize(x, 0.0)
    rows = y.detach()
    passes = 0.0
    for d in range(dim):
        for e in range(d):
            after = torch.zeros_like(rows)
            after[:, d], after[:, e] = rows[:, e], rows[:, d]
            (before,) = torch.autograd.grad(y, x, after, retain_graph=True)
            passes += (sigma * before).square().sum().item()
    rho = rows.T @ rows / batch_size
    off_diagonal = ~torch.eye(dim, dtype=torch.bool)
    law = 1 - rho[off_diagonal].square().mean().item()
    arrives = rows.square().sum().item()  # of all entries of one row of the Hessians
    return {
        "offdiag": (passes / ((dim - 1) * arrives), law),
        "second": (passes / (dim * arrives), law * (1 - 1 / dim)),
    }


def _deviation(found: Tensor, expected: Tensor, unit: Tensor) -> float:
    return ((found - expected).abs().max() / unit.abs().max()).item()


def leak_by_channel(
    eps: float, stds: Tensor, batch_size: int, seed: int
) -> Iterator[tuple[float, float, float]]:
    """T2's leak for channels of the standard deviations ``stds`` (D,): for each its exact standard
    deviation, the measured share of the diagonal term's gradient that passes, and the share that T2
    states, eps / (var + eps).
    """
    generator = stream(seed, "leak")
    x = stds * torch.randn(batch_size, len(stds), generator=generator, dtype=torch.float64)
    x.requires_grad_()
    y, sigma = standardize(x, eps)
    rows = y.detach()
    after = split(quadratic(len(stds), generator), rows, torch.zeros_like(rows[0])).diag
    (before,) = torch.autograd.grad(y, x, after)
    measured = (sigma * before).norm(dim=0) / after.norm(dim=0)
    var = x.var(0, correction=0)
    table = torch.stack([square_root(var), measured, eps / (var + eps)]).T
    yield from map(tuple, table.tolist())
