"""Synthetic features, and losses of them that all samples of a batch share.

A loss is a head from normalized features to outputs, and a loss of the outputs, as
``bnblind.split_head`` takes them. To add one, write a function with this signature and name it
in ``SHARED_LOSSES``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bnblind.errors import unknown
from bnblind.experiments.randomness import stream
from bnblind.losses import LossFunction, sample_loss

CLASSES = 10
HIDDEN = 32
OUTPUTS = 3


@dataclass(frozen=True)
class SharedLoss:
    """One loss for every sample: ``loss(head(y), target)``.

    Attributes:
        head: (m, D) -> (m, C), rows independent.
        loss: name or callable, as for ``bnblind.split_head``.
        target: of one sample.
        terms: the Taylor terms that are not zero for every y.
    """

    head: Callable[[Tensor], Tensor]
    loss: str | LossFunction
    target: Tensor
    terms: tuple[str, ...]

    def targets(self, n: int) -> Tensor:
        return self.target.expand(n, *self.target.shape)

    def values(self, y: Tensor) -> Tensor:
        """(m, D) features -> (m,) losses, differentiable."""
        return sample_loss(self.loss).value(self.head(y), self.targets(len(y)))


FIRST_ORDER = ("first",)
SECOND_ORDER = (*FIRST_ORDER, "diag", "offdiag")
ALL_ORDERS = (*SECOND_ORDER, "remainder")

NO_TARGET = torch.zeros(0, dtype=torch.float64)


def _normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _only_output(z: Tensor, target: Tensor) -> Tensor:
    return z[:, 0]


def linear(dim: int, generator: torch.Generator) -> SharedLoss:
    """l(y) = a.y, a standard normal."""
    a = _normal(dim, 1, generator=generator)
    return SharedLoss(lambda y: y @ a, _only_output, NO_TARGET, FIRST_ORDER)


def quadratic(dim: int, generator: torch.Generator) -> SharedLoss:
    """l(y) = a.y + y'Hy / 2, a standard normal, H symmetric with normal entries."""
    a = _normal(dim, generator=generator)
    B = _normal(dim, dim, generator=generator)
    H = (B + B.T) / 2

    def head(y: Tensor) -> Tensor:
        return (y @ a + 0.5 * (y * (y @ H)).sum(1))[:, None]

    return SharedLoss(head, _only_output, NO_TARGET, SECOND_ORDER)


def _affine(
    dim: int, outputs: int, generator: torch.Generator
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A random affine map to outputs of about unit size, and a random target."""
    W = _normal(dim, outputs, generator=generator) / dim**0.5
    b = _normal(outputs, generator=generator)
    return lambda y: y @ W + b, _normal(outputs, generator=generator)


def mse(dim: int, generator: torch.Generator) -> SharedLoss:
    """Mean squared error of a linear regression with 3 outputs."""
    head, target = _affine(dim, OUTPUTS, generator)
    return SharedLoss(head, "mse", target, SECOND_ORDER)


def huber(dim: int, generator: torch.Generator) -> SharedLoss:
    """Huber loss (delta 1), summed over the outputs of a linear regression with 3 outputs."""
    head, target = _affine(dim, OUTPUTS, generator)

    def loss(z: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(z, target, reduction="none").sum(1)

    return SharedLoss(head, loss, target, ALL_ORDERS)


def logistic(dim: int, generator: torch.Generator) -> SharedLoss:
    """Logistic loss log(1 + exp(-z)) of one linear output, the label positive."""
    head, _ = _affine(dim, 1, generator)
    return SharedLoss(head, lambda z, _: F.softplus(-z[:, 0]), NO_TARGET, ALL_ORDERS)


def gaussian_nll(dim: int, generator: torch.Generator) -> SharedLoss:
    """Likelihood of latents y + tanh(W y + b) under a standard normal, as in a flow."""
    W = _normal(dim, dim, generator=generator) / dim**0.5
    b = _normal(dim, generator=generator)
    zero = torch.zeros(dim, dtype=torch.float64)
    return SharedLoss(lambda y: y + (y @ W + b).tanh(), "gaussian_nll", zero, ALL_ORDERS)


def _softmax_network(
    dim: int, generator: torch.Generator, activation: Callable[[Tensor], Tensor]
) -> SharedLoss:
    W1 = _normal(HIDDEN, dim, generator=generator) / dim**0.5
    b1 = _normal(HIDDEN, generator=generator)
    W2 = _normal(CLASSES, HIDDEN, generator=generator) / HIDDEN**0.5
    return SharedLoss(
        lambda y: activation(y @ W1.T + b1) @ W2.T, "cross_entropy", torch.tensor(0), ALL_ORDERS
    )


def softmax_relu(dim: int, generator: torch.Generator) -> SharedLoss:
    """Cross-entropy for class 0 of a ReLU network dim - 32 - 10 with random weights."""
    return _softmax_network(dim, generator, F.relu)


def softmax_gelu(dim: int, generator: torch.Generator) -> SharedLoss:
    """Cross-entropy for class 0 of a GELU network dim - 32 - 10 with random weights."""
    return _softmax_network(dim, generator, F.gelu)


SHARED_LOSSES: dict[str, Callable[[int, torch.Generator], SharedLoss]] = {
    "linear": linear,
    "quadratic": quadratic,
    "mse": mse,
    "huber": huber,
    "logistic": logistic,
    "gaussian_nll": gaussian_nll,
    "softmax_relu": softmax_relu,
    "softmax_gelu": softmax_gelu,
}


def shared_loss(name: str, dim: int, seed: int) -> SharedLoss:
    """The loss ``name`` of ``dim`` features, drawn from ``seed``; raises BadInput if unknown."""
    if name not in SHARED_LOSSES:
        raise unknown("loss", name, SHARED_LOSSES)
    return SHARED_LOSSES[name](dim, stream(seed, "loss", dim))


def features(batch_size: int, dim: int, seed: int, mixing: float = 0.5) -> Tensor:
    """(batch_size, dim) float64: correlated unless ``mixing`` is 0, means not 0, scales from 0.3 to
    3.
    """
    generator = stream(seed, "features", batch_size, dim)
    independent = _normal(batch_size, dim, generator=generator)
    mixture = torch.eye(dim, dtype=torch.float64) + mixing * _normal(dim, dim, generator=generator)
    mean = 2 * _normal(dim, generator=generator)
    scale = torch.logspace(-0.5, 0.5, dim, dtype=torch.float64)
    return scale * (independent @ mixture) + mean
