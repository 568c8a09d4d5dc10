"""``bn_scale``: BN's scaling without its centering."""

from torch import Tensor

from bnblind.norms.base import BatchStatistics


class BatchScaling(BatchStatistics):
    """``bn_scale``: only divide by the batch's standard deviation."""

    control = True

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _, scale = super().statistics(x)
        return x.new_zeros(()), scale
