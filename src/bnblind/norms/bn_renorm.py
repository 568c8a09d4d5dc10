from torch import Tensor

from bnblind.norms import RunningAverages, with_gradient_of
from bnblind.standardization import per_channel, standardize


class BatchRenorm(RunningAverages):
    """``bn_renorm``: Batch Renormalization without clipping (Ioffe 2017): running averages forward,
    BN's backward pass.

    With the batch's own y, mu and sigma it is r y + d; r = sigma / running sigma and
    d = (mu - running mean) / running sigma are constants to the gradient.
    """

    blocks_as_bn = True
    couples_batch = True

    def standardize(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().standardize(x)
        y, sigma = standardize(x, self.eps)
        mean, scale = self.statistics(x)
        r = per_channel(sigma, x) / scale
        return with_gradient_of((x - mean) / scale, y * r.detach())
