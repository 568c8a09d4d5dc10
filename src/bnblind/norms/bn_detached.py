from torch import Tensor

from bnblind.norms import BatchStatistics


class DetachedBatchNorm(BatchStatistics):
    """``bn_detached``: BN's forward pass with the statistics outside the graph."""

    control = True
    centers_batch = True

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = super().statistics(x)
        return mean.detach(), scale.detach()
