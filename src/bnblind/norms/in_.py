from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bnblind.errors import BadInput
from bnblind.norms import Fused
from bnblind.standardization import square_root


class InstanceNorm(Fused):
    """``in``: statistics of each sample and channel over its positions (Ulyanov et al. 2016)."""

    within_sample = True
    needs_positions = True

    def __init__(self, shape: Sequence[int], eps: float = 1e-5) -> None:
        if len(shape) < 2:
            raise BadInput(
                f"norm 'in' needs features (C, *spatial) per sample; found {tuple(shape)}"
            )
        super().__init__(shape, eps)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        var, mean = torch.var_mean(x, dim=tuple(range(2, x.dim())), correction=0, keepdim=True)
        return mean, square_root(var + self.eps)

    def fused(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.instance_norm(x, weight=weight, bias=bias, eps=self.eps)
