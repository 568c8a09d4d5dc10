from torch import Tensor

from bnblind.norms import Identity, with_gradient_of
from bnblind.standardization import per_channel, standardize


class BlockedIdentity(Identity):
    """``identity_blocked``: the identity forward, BN's blocking backward.

    In training mode a gradient G becomes G - mean(G) - y mean(y G) (T4 without 1 / sigma), y the
    features standardized by the batch.
    """

    control = True
    blocks_as_bn = True
    couples_batch = True

    def standardize(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        y, sigma = standardize(x, self.eps)
        return with_gradient_of(x, y * per_channel(sigma, x).detach())
