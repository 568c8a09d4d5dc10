"""Losses of one sample as functions of its outputs: value, slope and curvature.

To add one to the names, subclass ``SampleLoss`` (or give its value alone and let autograd do
the rest) and name it in ``SAMPLE_LOSSES``.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bnblind.errors import BadInput, unknown

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Outputs (m, C) and targets (m, ...) -> losses (m,), sample by sample."""


Squares = tuple[Tensor, Tensor, Callable[[int], Tensor]]
"""Weights (m, K) of a curvature's directions, coefficients (m, K) with which they add to the slope,
and the k-th direction (m, C): all at once take memory that grows with the square of C.
"""


class SampleLoss:
    """Any twice differentiable loss of one sample; slope and curvature by autograd.

    Args:
        value: outputs (m, C) and targets (m, ...) -> losses (m,), each of its own row.
    """

    same_curvature = False
    """Whether the curvature is the same for every target."""

    def __init__(self, value: LossFunction) -> None:
        self._value = value

    def value(self, z: Tensor, target: Tensor) -> Tensor:
        """Losses (m,) of outputs ``z`` (m, C); raises BadInput for another shape."""
        losses = self._value(z, target)
        if not isinstance(losses, Tensor) or losses.shape != z.shape[:1]:
            found = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise BadInput(
                f"the loss must give one number per sample, shape ({len(z)},); found {found}. "
                "A loss of torch does so with reduction='none'"
            )
        return losses

    def slope(self, z: Tensor, target: Tensor) -> Tensor:
        """Gradient of each loss with respect to its outputs, (m, C)."""
        z = z.detach().requires_grad_()
        loss = self.value(z, target).sum()
        return torch.autograd.grad(loss, z)[0] if loss.requires_grad else torch.zeros_like(z)

    def curvature(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Hessian of each loss in its outputs as a sum of squares.

        Returns:
            Weights (m, K) and directions (m, K, C): the Hessian is the sum over k of
            ``weight_k direction_k direction_k'``.
        """
        z = z.detach().requires_grad_()
        loss = self.value(z, target).sum()
        rows = [torch.zeros_like(z)] * z.shape[1]
        slope = loss
        if loss.requires_grad:
            slope = torch.autograd.grad(loss, z, create_graph=True)[0]
        if slope.requires_grad:
            rows = [
                torch.autograd.grad(column.sum(), z, retain_graph=True)[0] for column in slope.T
            ]
        weights, vectors = torch.linalg.eigh(torch.stack(rows, 1))
        return weights, vectors.mT

    def squares(self, z: Tensor, target: Tensor) -> Squares:
        """The curvature, and the slope in its directions."""
        weights, directions = self.curvature(z, target)
        along = (directions @ self.slope(z, target)[:, :, None]).squeeze(2)
        return weights, along, lambda k: directions[:, k]


def _ascending(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Classes from the least to the most likely, their probabilities, and the probability of
    each or any later one; all (m, C).
    """
    order = z.detach().argsort(dim=1, stable=True)
    p = z.detach().softmax(1).gather(1, order)
    return order, p, p.flip(1).cumsum(1).flip(1)


def _weights(p: Tensor, rest: Tensor) -> Tensor:
    return p[:, :-1] * rest[:, 1:] / rest[:, :-1]


def _cross_entropy(z: Tensor, target: Tensor) -> Tensor:
    """log(1 + exp(u)), u how far the other outputs' log-sum-exp lies above the label's output.

    F.cross_entropy's slope holds p - 1, which loses all its digits where p is nearly 1.
    """
    label = target[:, None]
    others = torch.arange(z.shape[1] - 1, device=z.device).expand(len(z), -1)
    others = others + (others >= label)
    u = z.gather(1, others).logsumexp(1) - z.gather(1, label).squeeze(1)
    return torch.logaddexp(u, torch.zeros_like(u))


class CrossEntropy(SampleLoss):
    """``cross_entropy``: softmax cross-entropy, targets (m,) class numbers."""

    same_curvature = True

    def __init__(self) -> None:
        super().__init__(_cross_entropy)

    def value(self, z: Tensor, target: Tensor) -> Tensor:
        if target.is_floating_point() or target.dim() != 1:
            raise BadInput(
                "cross_entropy needs integer targets of shape (n,), one class per sample; found "
                f"{target.dtype} of shape (n, {', '.join(map(str, target.shape[1:]))})"
            )
        target = target.long()
        wrong = target[(target < 0) | (target >= z.shape[1])]
        if len(wrong):
            raise BadInput(
                f"target {wrong[0].item()} is not a class; allowed: 0 to {z.shape[1] - 1}"
            )
        return super().value(z, target)

    def curvature(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """C - 1 squares, the fewest: each class against the mean of the likelier ones (the
        Cholesky factors of a multinomial covariance, Tanabe & Sagae 1992). Nothing cancels.
        """
        order, p, rest = _ascending(z)
        C = z.shape[1]
        identity = torch.eye(C - 1, C, dtype=z.dtype, device=z.device)
        directions = identity - (p[:, None] / rest[:, 1:, None]).triu(1)
        columns = order[:, None].expand_as(directions)
        weights = _weights(p, rest)
        return weights, torch.zeros_like(directions).scatter(2, columns, directions)

    def squares(self, z: Tensor, target: Tensor) -> Squares:
        order, p, rest = _ascending(z)
        slope = self.slope(z, target).gather(1, order)
        before = torch.nn.functional.pad(slope.cumsum(1), (1, 0))[:, : z.shape[1] - 1]
        along = slope[:, :-1] + p[:, :-1] * before / rest[:, :-1]

        def direction(k: int) -> Tensor:
            others = -p[:, k + 1 :] / rest[:, k + 1, None]
            row = torch.cat([torch.zeros_like(p[:, :k]), torch.ones_like(p[:, :1]), others], 1)
            return torch.zeros_like(row).scatter(1, order, row)

        return _weights(p, rest), along, direction


class Quadratic(SampleLoss):
    """``scale / 2 * |z - target|^2 + constant``; the curvature is ``scale`` times the identity."""

    same_curvature = True

    def __init__(self, scale: Callable[[int], float], constant: Callable[[int], float]) -> None:
        """``scale`` and ``constant`` are functions of the number of outputs C."""
        self.scale, self.constant = scale, constant

        def value(z: Tensor, target: Tensor) -> Tensor:
            if target.shape != z.shape:
                raise BadInput(
                    f"targets must have the outputs' shape, {tuple(z.shape[1:])} for each sample; "
                    f"found {tuple(target.shape[1:])}"
                )
            C = z.shape[1]
            return 0.5 * scale(C) * (z - target).square().sum(1) + constant(C)

        super().__init__(value)

    def curvature(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        C = z.shape[1]
        identity = torch.eye(C, dtype=z.dtype, device=z.device)
        return z.new_full((len(z), C), self.scale(C)), identity.expand(len(z), C, C)


SAMPLE_LOSSES: dict[str, Callable[[], SampleLoss]] = {
    "cross_entropy": CrossEntropy,
    # The mean over the outputs of the squared error.
    "mse": lambda: Quadratic(lambda C: 2 / C, lambda C: 0.0),
    # -log N(z; target, I): the likelihood of a flow's latent variables, for target 0.
    "gaussian_nll": lambda: Quadratic(lambda C: 1.0, lambda C: C / 2 * math.log(2 * math.pi)),
}


def sample_loss(loss: str | LossFunction) -> SampleLoss:
    """The loss of that name, or any callable ``(outputs, targets) -> (m,)`` as a loss.

    Raises:
        BadInput: unknown name.
    """
    if callable(loss):
        return SampleLoss(loss)
    if loss not in SAMPLE_LOSSES:
        raise unknown("loss", loss, (*SAMPLE_LOSSES, "any callable (outputs, targets) -> (m,)"))
    return SAMPLE_LOSSES[loss]()
