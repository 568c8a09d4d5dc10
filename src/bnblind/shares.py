"""How much of a gradient the standardization phase of batch normalization blocks."""

from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from bnblind.errors import BadInput
from bnblind.standardization import bn_backward, per_channel, pooled_axes


@dataclass(frozen=True)
class Blocked:
    """Shares of the squared gradient ``|G|^2`` of each channel; all of shape (C,).

    Attributes:
        mean: blocked by the centering: the share of ``G`` along the constant vector.
        scale: blocked by the scaling: at eps = 0 the share of ``G`` along ``y``; with eps > 0,
            ``m (2 - m)`` of it, ``m = var / (var + eps)``.
        passing: ``|sigma dX|^2 / |G|^2``, what reaches the features before the layer.
        total: ``|G|^2`` itself, the weight of the channel in :meth:`layer`.

    The three shares add to 1; where a channel has no gradient at all, they are NaN.

    >>> y = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]])
    >>> shares = blocked(torch.tensor([[1.0], [0.0], [0.0], [0.0]]), y).layer()
    >>> shares.mean.item(), shares.scale.item(), shares.passing.item(), shares.total.item()
    (0.25, 0.25, 0.5, 1.0)
    """

    mean: Tensor
    scale: Tensor
    passing: Tensor
    total: Tensor

    def layer(self) -> "Blocked":
        """The shares of the whole layer's ``|G|^2``: the same four as 0-dimensional tensors."""
        total = self.total.sum()
        seen = self.total > 0
        weights = self.total[seen] / total

        def pooled(share: Tensor) -> Tensor:
            return (weights * share[seen]).sum() if bool(seen.any()) else share.new_tensor(nan)

        return Blocked(pooled(self.mean), pooled(self.scale), pooled(self.passing), total)


def blocked(G: Tensor, y: Tensor) -> Blocked:
    """The shares of a gradient that batch normalization blocks and lets pass (T4).

    Each share is computed from its own formula, so that their sum is a check.

    Args:
        G: gradient of any loss with respect to ``y``, floating point, (n, C, *spatial).
        y: features standardized with their own batch, same shape.

    Raises:
        BadInput: the shapes differ, or there is no channel axis.

    Source: T4 in docs/theory.md, from the backward pass of Ioffe & Szegedy 2015.

    >>> y = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]])
    >>> blocked(torch.ones(4, 1), y).passing  # shared by the batch
    tensor([0.])
    """
    if G.shape != y.shape or y.dim() < 2:
        raise BadInput(
            f"G and y must have one shape (n, C, *spatial); found {tuple(G.shape)} "
            f"and {tuple(y.shape)}"
        )
    if not (G.is_floating_point() and y.is_floating_point()):
        raise BadInput(f"G and y must be floating point; found {G.dtype} and {y.dtype}")
    axes, n = pooled_axes(y), y.numel() // y.shape[1]
    # In units of its largest entry: the square of a saturated network's gradient underflows.
    unit = G.abs().amax(axes)
    G = G / per_channel(unit, G)
    total = G.square().sum(axes)
    along_y = (y * G).mean(axes)
    passing = bn_backward(G, y, torch.ones_like(total)).square().sum(axes)
    mean = n * G.mean(axes).square()
    scale = along_y.square() * (2 * n - y.square().sum(axes))
    energy = torch.where(unit == 0, 0, total * unit.square())
    return Blocked(mean / total, scale / total, passing / total, energy)
