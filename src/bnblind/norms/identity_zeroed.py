from torch import Tensor

from bnblind.norms import Identity, with_gradient_of


class ZeroedIdentity(Identity):
    """``identity_zeroed``: the identity forward; a gradient of 0 passes."""

    control = True

    def standardize(self, x: Tensor) -> Tensor:
        return with_gradient_of(x, 0 * x)
