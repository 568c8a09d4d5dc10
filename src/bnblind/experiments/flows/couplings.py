"""Affine couplings and their masks: half of the features set scale and shift of the others."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnblind.experiments.flows.invertible import Invertible


def checkerboard(shape: Sequence[int]) -> Tensor:
    """Mask (C, H, W), True where row plus column is even."""
    _, height, width = shape
    even = (torch.arange(height)[:, None] + torch.arange(width)) % 2 == 0
    return even.expand(*shape).clone()


def channel_half(shape: Sequence[int]) -> Tensor:
    """Mask (C, H, W), True in the first half of the channels."""
    first = torch.arange(shape[0]) < shape[0] // 2
    return first[:, None, None].expand(*shape).clone()


class AffineCoupling(Invertible):
    """Masked features stay; the others become x exp(s) + t, s and t functions of the masked ones.

    ``s = gain * tanh(s')``, one gain per feature, where the network gives s' and t.
    Source: Dinh et al., arXiv:1605.08803, equations 7 to 9.

    Args:
        mask: bool, the shape of one sample; True stays.
        network: (n, C, ...) to (n, 2C, ...), s' and then t.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, network: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        self.network = network
        self.gain = nn.Parameter(torch.ones(mask.shape))

    def scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale s and shift t, 0 where the mask is True; they depend on ``x`` there only."""
        scale, shift = self.network(x.masked_fill(~self.mask, 0)).chunk(2, 1)
        scale = (self.gain * scale.tanh()).masked_fill(self.mask, 0)
        return scale, shift.masked_fill(self.mask, 0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.scale_and_shift(x)
        return x * scale.exp() + shift, scale.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift(y)
        return (y - shift) * (-scale).exp()
