import torch
from torch import Tensor

from bnblind.norms import BatchStatistics, Fused


class BatchNorm(Fused, BatchStatistics):
    """``bn``: batch normalization (Ioffe & Szegedy 2015)."""

    blocks_as_bn = True
    centers_batch = True

    def fused(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        if self.training:
            self.values_per_channel(x)
        mean, var, momentum = self.running_mean, self.running_var, self.momentum
        # Not F.batch_norm, which refuses eps = 0.
        return torch.batch_norm(
            x, weight, bias, mean, var, self.training, momentum, self.eps, False
        )
