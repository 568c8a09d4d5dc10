from torch import Tensor

from bnblind.norms import Norm


class AffineOnly(Norm):
    """``bn_affine``: BN's affine phase without its standardization phase."""

    control = True

    def standardize(self, x: Tensor) -> Tensor:
        return x
