import torch
from torch import Tensor
from torch.nn import functional as F

from bnblind.norms import Fused
from bnblind.standardization import square_root


class LayerNorm(Fused):
    """``ln``: statistics of a sample over all its features, affine by element (Ba et al. 2016)."""

    within_sample = True
    affine_by_element = True

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        var, mean = torch.var_mean(x, dim=tuple(range(1, x.dim())), correction=0, keepdim=True)
        return mean, square_root(var + self.eps)

    def fused(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.layer_norm(x, self.shape, weight, bias, self.eps)
