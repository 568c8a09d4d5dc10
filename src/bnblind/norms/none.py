from collections.abc import Sequence

from torch import Tensor, nn

from bnblind.norms import Norm


class NoNorm(Norm):
    """``none``: no norm, the baseline: the identity, without parameters."""

    def __init__(self, shape: Sequence[int], eps: float = 1e-5) -> None:
        nn.Module.__init__(self)
        self.shape, self.eps = tuple(shape), eps

    def standardize(self, x: Tensor) -> Tensor:
        return x

    def affine(self, y: Tensor) -> Tensor:
        return y
