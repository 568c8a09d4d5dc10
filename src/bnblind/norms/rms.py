from torch import Tensor

from bnblind.norms import Norm
from bnblind.standardization import square_root


class RMSNorm(Norm):
    """``rms``: each sample divided by its features' root mean square, affine by element, with a
    bias (Zhang & Sennrich 2019).
    """

    within_sample = True
    affine_by_element = True

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        power = x.square().mean(tuple(range(1, x.dim())), keepdim=True)
        return x.new_zeros(()), square_root(power + self.eps)
