"""The networks inside the couplings. Every one starts at 0, so that a flow starts as the logit."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnblind.norms import NormFactory
from bnblind.standardization import square_root


def _squared_lengths(weight: Tensor) -> Tensor:
    """Of each output channel's weights, (out, 1, 1, 1)."""
    return weight.square().sum((1, 2, 3), keepdim=True)


class WeightNormConv2d(nn.Conv2d):
    """A convolution whose weight is ``gain * weight / |weight|``, for each output channel.

    Keeps the images' size. Source: Salimans & Kingma 2016, arXiv:1602.07868.
    """

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)
        self.gain = nn.Parameter(square_root(_squared_lengths(self.weight.detach())))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (self.gain * _squared_lengths(self.weight).rsqrt())
        return F.conv2d(x, weight, self.bias, padding=self.padding)


def mlp(features: int, width: int, depth: int, norm: NormFactory) -> nn.Sequential:
    """``depth`` hidden layers, each linear - norm - ReLU, of ``width`` units.

    (n, features) to (n, 2 features).
    """
    sizes = [features, *[width] * depth]
    hidden = [
        layer
        for inputs, outputs in pairwise(sizes)
        for layer in (nn.Linear(inputs, outputs), norm((outputs,)), nn.ReLU())
    ]
    last = nn.Linear(width, 2 * features)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*hidden, last)


class ResidualBlock(nn.Module):
    """x + conv(ReLU(norm(conv(ReLU(norm(x))))))."""

    def __init__(self, shape: Sequence[int], norm: NormFactory) -> None:
        super().__init__()
        width = shape[0]
        self.branch = nn.Sequential(
            norm(shape), nn.ReLU(), WeightNormConv2d(width, width, 3),
            norm(shape), nn.ReLU(), WeightNormConv2d(width, width, 3),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class ResidualNetwork(nn.Module):
    """``depth`` residual blocks of ``width`` channels; all of them, through a 1 x 1 convolution
    each, add up to the last layer's input. (n, C, H, W) to (n, 2C, H, W).

    Args:
        mask: bool (C, H, W), of the coupling; one plane of it is a further input channel.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, width: int, depth: int, norm: NormFactory) -> None:
        super().__init__()
        channels, *size = mask.shape
        shape = (width, *size)
        self.register_buffer("mask", mask[:1], persistent=False)
        self.first = WeightNormConv2d(channels + 1, width, 3)
        self.blocks = nn.ModuleList(ResidualBlock(shape, norm) for _ in range(depth))
        self.skips = nn.ModuleList(WeightNormConv2d(width, width, 1) for _ in range(depth + 1))
        last = WeightNormConv2d(width, 2 * channels, 1)
        nn.init.zeros_(last.gain)
        nn.init.zeros_(last.get_parameter("bias"))
        self.last = nn.Sequential(norm(shape), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        plane = self.mask.to(x.dtype).expand(len(x), *self.mask.shape)
        x = self.first(torch.cat([x, plane], 1))
        total = self.skips[0](x)
        for block, skip in zip(self.blocks, list(self.skips)[1:], strict=True):
            x = block(x)
            total = total + skip(x)
        return self.last(total)
