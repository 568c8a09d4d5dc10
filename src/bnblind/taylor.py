"""The loss of one sample, expanded in its standardized features; dense reference.

``l(y) = l(y0) + first + diag + offdiag + remainder``; see docs/theory.md for the notation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bnblind.errors import BadInput

TERMS = ("first", "diag", "offdiag", "remainder")

SampleLoss = Callable[[Tensor], Tensor]
"""(D,) standardized features of one sample -> () its loss; the same for every sample."""


@dataclass(frozen=True)
class Expansion:
    """Value (), gradient (D,) and Hessian (D, D) of a sample's loss at ``y0`` (D,)."""

    loss: SampleLoss
    y0: Tensor
    value: Tensor
    gradient: Tensor
    hessian: Tensor

    def terms(self, y: Tensor) -> dict[str, Tensor]:
        """Each term for each sample of ``y`` (n, D), as (n,); differentiable in ``y``.

        ``remainder`` is what the loss holds beyond second order.
        """
        step = y - self.y0
        diagonal = self.hessian.diagonal()
        first = step @ self.gradient
        diag = 0.5 * step.square() @ diagonal
        offdiag = 0.5 * (step * (step @ (self.hessian - diagonal.diag()))).sum(1)
        loss = torch.func.vmap(self.loss)(y)
        remainder = loss - self.value - first - diag - offdiag
        return dict(zip(TERMS, (first, diag, offdiag, remainder), strict=True))


def expand(loss: SampleLoss, y0: Tensor) -> Expansion:
    """Expand ``loss`` at ``y0`` (D,) by its dense Hessian: D^2 numbers, D backward passes.

    Raises:
        BadInput: ``y0`` is not a vector, or the loss is not finite there.
    """
    if y0.dim() != 1:
        raise BadInput(f"the expansion point must have shape (D,); found {tuple(y0.shape)}")
    value = loss(y0)
    if not bool(value.isfinite()):
        raise BadInput(f"the loss at the expansion point must be finite; found {value.item()}")
    gradient = torch.func.grad(loss)(y0)
    hessian = torch.func.hessian(loss)(y0)
    return Expansion(loss, y0, value.detach(), gradient.detach(), hessian.detach())
