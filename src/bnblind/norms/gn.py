import torch
from torch import Tensor
from torch.nn import functional as F

from bnblind.norms import Fused
from bnblind.standardization import square_root


class GroupNorm(Fused):
    """``gn``: statistics of each sample over groups of channels (Wu & He 2018).

    At most 8 groups, of four channels or more: a group of one feature standardizes to 0, one
    of two to +-1, regardless of its features.
    """

    within_sample = True

    def groups(self) -> int:
        channels = self.shape[0]
        most = max(1, min(8, channels // 4))
        return next(g for g in range(most, 0, -1) if channels % g == 0)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        var, mean = torch.var_mean(x.flatten(1).unflatten(1, (self.groups(), -1)), 2, correction=0)
        share = (x.shape[0], -1, *[1] * (x.dim() - 2))
        repeats = x.shape[1] // self.groups()
        mean, var = (v.repeat_interleave(repeats, 1).view(share) for v in (mean, var))
        return mean, square_root(var + self.eps)

    def fused(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.group_norm(x, self.groups(), weight, bias, self.eps)
