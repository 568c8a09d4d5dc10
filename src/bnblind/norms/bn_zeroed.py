from torch import Tensor

from bnblind.norms import BatchStatistics, with_gradient_of


class ZeroedBatchNorm(BatchStatistics):
    """``bn_zeroed``: BN's forward pass; a gradient of 0 passes."""

    control = True
    centers_batch = True

    def standardize(self, x: Tensor) -> Tensor:
        return with_gradient_of(super().standardize(x), 0 * x)
