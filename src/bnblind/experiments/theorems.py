"""T1, T2 and T3 checked in float64 on synthetic features, for every norm variant.

All samples of a batch share one loss of their normalized features (the theorems' hypothesis).
Its Taylor terms at y0 = 0 come from a dense Hessian; their gradients with respect to the
features before the norm come from autograd and are compared with the closed forms.
See docs/theory.md for the statements.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bnblind.errors import BadInput, unknown
from bnblind.experiments.randomness import stream
from bnblind.norms import build_norm, freeze_statistics
from bnblind.standardization import bn_backward, square_root, standardize
from bnblind.taylor import Expansion, SampleLoss, expand

CLASSES = 10
HIDDEN = 32
POSITIONS = 8


def linear_loss(dim: int, generator: torch.Generator) -> SampleLoss:
    """l(y) = a.y, a standard normal."""
    a = torch.randn(dim, generator=generator, dtype=torch.float64)
    return lambda y: a @ y


def quadratic_loss(dim: int, generator: torch.Generator) -> SampleLoss:
    """l(y) = a.y + y'Hy / 2, a standard normal, H symmetric with normal entries."""
    a = torch.randn(dim, generator=generator, dtype=torch.float64)
    B = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    H = (B + B.T) / 2
    return lambda y: a @ y + 0.5 * y @ H @ y


def softmax_mlp_loss(dim: int, generator: torch.Generator) -> SampleLoss:
    """Cross-entropy for class 0 of a GELU network dim - 32 - 10 with random weights."""
    W1 = torch.randn(HIDDEN, dim, generator=generator, dtype=torch.float64) / dim**0.5
    b1 = torch.randn(HIDDEN, generator=generator, dtype=torch.float64)
    W2 = torch.randn(CLASSES, HIDDEN, generator=generator, dtype=torch.float64) / HIDDEN**0.5

    def loss(y: Tensor) -> Tensor:
        return -F.log_softmax(W2 @ F.gelu(W1 @ y + b1), dim=0)[0]

    return loss


LOSSES: dict[str, Callable[[int, torch.Generator], SampleLoss]] = {
    "linear": linear_loss,
    "quadratic": quadratic_loss,
    "softmax_mlp": softmax_mlp_loss,
}

# The linear loss has a first-order term only, the quadratic no remainder.
TERMS_OF = {
    "linear": ("first",),
    "quadratic": ("first", "diag", "offdiag"),
    "softmax_mlp": ("first", "diag", "offdiag", "remainder"),
}


@dataclass(frozen=True)
class Case:
    """One batch of synthetic features and one loss of them."""

    norm: str
    loss: str
    batch_size: int
    dim: int
    eps: float
    seed: int

    def features(self) -> Tensor:
        """(batch_size, dim) float64: correlated, means not 0, scales from 0.3 to 3."""
        generator = stream(self.seed, "features", self.batch_size, self.dim)
        independent = torch.randn(
            self.batch_size, self.dim, generator=generator, dtype=torch.float64
        )
        mixing = torch.eye(self.dim, dtype=torch.float64) + 0.5 * torch.randn(
            self.dim, self.dim, generator=generator, dtype=torch.float64
        )
        mean = 2 * torch.randn(self.dim, generator=generator, dtype=torch.float64)
        scale = torch.logspace(-0.5, 0.5, self.dim, dtype=torch.float64)
        return scale * (independent @ mixing) + mean

    def sample_loss(self) -> SampleLoss:
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        return LOSSES[self.loss](self.dim, stream(self.seed, "loss", self.dim))

    def feature_shape(self) -> tuple[int, ...]:
        """One sample's features as the norm sees them: ``in`` gets 8 positions a channel."""
        if self.norm != "in":
            return (self.dim,)
        if self.dim % POSITIONS:
            raise BadInput(f"norm 'in' needs a dim divisible by {POSITIONS}; found {self.dim}")
        return (self.dim // POSITIONS, POSITIONS)


def passing_by_term(case: Case) -> dict[str, float]:
    """For each Taylor term, the share of its gradient's length that passes the norm.

    sigma |d term / dX| / |d term / dY|, Frobenius norms over the batch, each entry of dX times
    the scale that the norm divided it by; 1 where nothing is blocked.
    """
    shape = case.feature_shape()
    norm = build_norm(case.norm, shape, case.eps).double().train()
    x = case.features().unflatten(1, shape).requires_grad_()
    freeze_statistics(norm, x.detach())
    scale = norm.statistics(x.detach())[1]
    y = norm.standardize(x)
    terms = expand(case.sample_loss(), torch.zeros(case.dim, dtype=torch.float64)).terms(
        y.flatten(1)
    )
    passing = {}
    for name in TERMS_OF[case.loss]:
        before, after = torch.autograd.grad(terms[name].sum(), (x, y), retain_graph=True)
        passing[name] = ((scale * before).norm() / after.norm()).item()
    return passing


def first_order_gradient(expansion: Expansion, x: Tensor, eps: float) -> Tensor:
    """T1: zero, whatever the loss, the features and eps."""
    return torch.zeros_like(x)


def diagonal_gradient(expansion: Expansion, x: Tensor, eps: float) -> Tensor:
    """T2: the leak H_dd eps (x_id - mu_d) / (var_d + eps)^2, zero at eps = 0."""
    var, mean = torch.var_mean(x, dim=0, correction=0)
    return expansion.hessian.diagonal() * eps * (x - mean) / (var + eps).square()


def off_diagonal_gradient(expansion: Expansion, x: Tensor, eps: float) -> Tensor:
    """T3: (1/sigma_d) sum_{e != d} H_de (y_e - r_de y_d), r_de the mean of y_d y_e."""
    y, sigma = standardize(x, eps)
    H = expansion.hessian - expansion.hessian.diagonal().diag()
    r = y.T @ y / len(y)
    return (y @ H - y * (H * r).sum(1)) / sigma


THEOREMS: dict[str, tuple[str, Callable[[Expansion, Tensor, float], Tensor]]] = {
    "T1": ("first", first_order_gradient),
    "T2": ("diag", diagonal_gradient),
    "T3": ("offdiag", off_diagonal_gradient),
}


def theorem_errors(case: Case) -> dict[str, float]:
    """For each theorem, the largest deviation of autograd's gradient from the closed form.

    As a share of the largest entry of G / sigma, the gradient that would pass if the batch
    statistics were constants. T4 is the closed form of the whole loss against autograd.
    """
    x = case.features().requires_grad_()
    y, sigma = standardize(x, case.eps)
    expansion = expand(case.sample_loss(), torch.zeros(case.dim, dtype=torch.float64))
    terms = expansion.terms(y)
    errors = {}
    for theorem, (name, closed_form) in THEOREMS.items():
        if name in TERMS_OF[case.loss]:
            before, after = torch.autograd.grad(terms[name].sum(), (x, y), retain_graph=True)
            errors[theorem] = _deviation(
                before, closed_form(expansion, x.detach(), case.eps), after / sigma
            )
    before, after = torch.autograd.grad(
        torch.func.vmap(expansion.loss)(y).sum(), (x, y), retain_graph=True
    )
    errors["T4"] = _deviation(before, bn_backward(after, y, sigma), after / sigma)
    return errors


def _deviation(found: Tensor, expected: Tensor, unit: Tensor) -> float:
    return ((found - expected).abs().max() / unit.abs().max()).item()


def leak_by_channel(
    eps: float, stds: Tensor, batch_size: int, seed: int
) -> Iterator[tuple[float, float, float]]:
    """T2's leak for channels of the standard deviations ``stds`` (D,).

    Yields for each channel its exact standard deviation, the measured share of the diagonal
    term's gradient that passes, and the share that T2 states, eps / (var + eps).
    """
    generator = stream(seed, "leak")
    x = stds * torch.randn(batch_size, len(stds), generator=generator, dtype=torch.float64)
    x.requires_grad_()
    y, sigma = standardize(x, eps)
    expansion = expand(quadratic_loss(len(stds), generator), torch.zeros_like(stds))
    before, after = torch.autograd.grad(expansion.terms(y)["diag"].sum(), (x, y))
    measured = (sigma * before).norm(dim=0) / after.norm(dim=0)
    var = x.var(0, correction=0)
    rows = torch.stack([square_root(var), measured, eps / (var + eps)]).T
    yield from map(tuple, rows.tolist())
