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
    """A convolution that keeps the images' size, whose weight is ``gain * weight / |weight|``, for
    each output channel. Source: Salimans & Kingma 2016, arXiv:1602.07868.
    """

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)
        self.gain = nn.Parameter(square_root(_squared_lengths(self.weight.detach())))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (self.gain * _squared_lengths(self.weight).rsqrt())
        return F.conv2d(x, weight, self.bias, padding=self.padding)


def mlp(features: int, width: int, depth: int, norm: NormFactory) -> nn.Sequential:
    """``depth`` hidden layers, each linear - norm - ReLU, of ``width`` units; (n, features) to (n,
    2 features).
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

    The masked features are normalized, and enter with both signs through a ReLU, as the authors
    have it. Of a mask (C, H, W) that keeps whole channels, these are the input, and the output is
    that of the others; of any other one a plane of it is a further input channel.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, width: int, depth: int, norm: NormFactory) -> None:
        super().__init__()
        channels, *size = mask.shape
        whole = mask.flatten(1).all(1)
        self.by_channel = bool((whole | ~mask.flatten(1).any(1)).all())
        kept = whole if self.by_channel else torch.ones(channels, dtype=torch.bool)
        self.kept = kept.nonzero().flatten().tolist()
        self.changed = (~kept).nonzero().flatten().tolist() if self.by_channel else self.kept
        shape = (width, *size)
        self.register_buffer("mask", mask[:1], persistent=False)
        self.entering = norm((len(self.kept), *size))
        inputs = 2 * len(self.kept) + (not self.by_channel)
        self.first = WeightNormConv2d(inputs, width, 3)
        self.blocks = nn.ModuleList(ResidualBlock(shape, norm) for _ in range(depth))
        self.skips = nn.ModuleList(WeightNormConv2d(width, width, 1) for _ in range(depth + 1))
        last = WeightNormConv2d(width, 2 * len(self.changed), 1)
        nn.init.zeros_(last.gain)
        nn.init.zeros_(last.get_parameter("bias"))
        self.last = nn.Sequential(norm(shape), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        given = self.entering(x[:, self.kept])
        entering = [given, -given]
        if not self.by_channel:
            entering.append(self.mask.to(x.dtype).expand(len(x), *self.mask.shape))
        hidden = self.first(torch.cat(entering, 1).relu())
        total = self.skips[0](hidden)
        for block, skip in zip(self.blocks, list(self.skips)[1:], strict=True):
            hidden = block(hidden)
            total = total + skip(hidden)
        out: Tensor = self.last(total)
        if not self.by_channel:
            return out
        changed = torch.tensor(self.changed, device=x.device)
        placed = [x.new_zeros(x.shape).index_copy(1, changed, part) for part in out.chunk(2, 1)]
        return torch.cat(placed, 1)
