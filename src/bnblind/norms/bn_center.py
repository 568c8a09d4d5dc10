from torch import Tensor

from bnblind.norms import BatchStatistics


class BatchCentering(BatchStatistics):
    """``bn_center``: BN's centering alone: only subtract the batch mean."""

    control = True
    centers_batch = True

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, _ = super().statistics(x)
        return mean, x.new_ones(())
