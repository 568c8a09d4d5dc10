from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnblind.norms import Norm


class DynamicTanh(Norm):
    """``dyt``: dynamic tanh: tanh(alpha x), alpha learned, 1/2 at first (Zhu et al. 2025).

    It takes no statistics; the scale of an entry x is x / tanh(alpha x).
    """

    def __init__(self, shape: Sequence[int], eps: float = 1e-5) -> None:
        super().__init__(shape, eps)
        self.alpha = nn.Parameter(torch.tensor(0.5))

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scale = torch.where(x == 0, 1 / self.alpha, x / self.standardize(x))
        return x.new_zeros(()), scale

    def standardize(self, x: Tensor) -> Tensor:
        return torch.tanh(self.alpha * x)
