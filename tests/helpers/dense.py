"""The oracle: Taylor terms of every sample's loss by its full Hessian, in float64.

Nothing here is the library's: derivatives are `torch.func`'s, the layer is torch's own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PARTS = ("first", "diag", "offdiag", "remainder", "total")
EXACT = 1e-12
"""Largest error allowed, relative to the largest term."""


@dataclass(frozen=True)
class Dense:
    """Gradients of the terms with respect to y, and the Hessian's diagonals; all (n, *S)."""

    first: Tensor
    diag: Tensor
    offdiag: Tensor
    remainder: Tensor
    total: Tensor
    hdiag: Tensor

    def largest(self) -> float:
        """Largest entry of any term: what an error before the layer is compared with."""
        return max(getattr(self, part).abs().max().item() for part in PARTS)


def taylor(loss: Callable[..., Tensor], y: Tensor, y0: Tensor, *of_sample: Tensor) -> Dense:
    """Expand ``loss(row, *what belongs to the sample)``, () for a row (*S), at ``y0`` (*S).

    Args:
        loss: made of functions that `torch.func` can transform.
        y: (n, *S).
        y0: (*S).
        of_sample: tensors (n, ...), one row per sample: targets, a skip connection's features.
    """
    n, D = len(y), y0.numel()

    def flat(row: Tensor, *own: Tensor) -> Tensor:
        return loss(row.view(y0.shape), *own)

    def at(derivative: Callable[..., Tensor], rows: Tensor) -> Tensor:
        return torch.func.vmap(derivative)(rows.reshape(n, D), *of_sample).detach()

    point = y0.expand(y.shape)
    total, first = (at(torch.func.grad(flat), rows) for rows in (y, point))
    hessian = at(torch.func.hessian(flat), point)
    step = (y - y0).reshape(n, D)
    hdiag = hessian.diagonal(dim1=1, dim2=2)
    diag = hdiag * step
    offdiag = torch.einsum("nde,ne->nd", hessian - torch.diag_embed(hdiag), step)
    terms = (first, diag, offdiag, total - first - diag - offdiag, total, hdiag)
    return Dense(*(term.view(y.shape) for term in terms))


def cross_entropy(z: Tensor, label: Tensor) -> Tensor:
    """Of one sample's outputs (C,), as ``log(1 + sum over the others of exp(z_c - z_label))``.

    Its derivatives keep their digits where the label's probability p is nearly 1. Those of
    torch's own, softmax - one-hot, contain p - 1, which has lost them.
    """
    own = torch.arange(len(z)) == label
    gaps = z - torch.where(own, z, 0).sum()
    return torch.log1p(torch.where(own, 0, gaps.exp()).sum())


def mse(z: Tensor, target: Tensor) -> Tensor:
    return (z - target).square().mean()


def gaussian_nll(z: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (z - target).square().sum() + 0.5 * len(z) * math.log(2 * math.pi)


NAMED = {"cross_entropy": cross_entropy, "mse": mse, "gaussian_nll": gaussian_nll}


def row_loss(loss: str | Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of one sample's outputs (C,); a callable's is what it gives for a batch of one."""
    if isinstance(loss, str):
        return NAMED[loss]
    return lambda z, target: loss(z[None], target[None])[0]


def taylor_of_head(
    head: Callable[[Tensor], Tensor],
    loss: str | Callable[[Tensor, Tensor], Tensor],
    y: Tensor,
    y0: Tensor,
    target: Tensor,
) -> Dense:
    """The same for a ``head`` (m, *S) -> (m, C) that all samples share, and a loss of outputs."""
    of_outputs = row_loss(loss)
    return taylor(lambda row, own: of_outputs(head(row[None])[0], own), y, y0, target)


def batch_norm(x: Tensor, eps: float) -> Tensor:
    """Torch's standardization phase; ``F.batch_norm`` is the same but refuses eps = 0."""
    return torch.batch_norm(x, None, None, None, None, True, 0.1, eps, False)


def before_batch_norm(x: Tensor, G: Tensor, eps: float) -> Tensor:
    """The gradient ``G`` after the standardization phase, at its input ``x``, by autograd."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(batch_norm(x, eps), x, G)[0]
