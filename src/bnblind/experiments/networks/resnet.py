"""A small residual network (He et al. 2016): basic blocks, a norm after every convolution."""

from collections.abc import Sequence

from torch import Tensor, nn

from bnblind.norms import NormFactory

WIDTHS = (8, 16, 32)
"""Channels of the stages, one block each; every stage but the first halves the image."""


def halved(size: int) -> int:
    """Side of the image after a 3x3 convolution of stride 2 with padding 1."""
    return (size + 1) // 2


class Block(nn.Module):
    """conv - norm - ReLU - conv - norm, plus the input, then ReLU.

    Where the shape changes, the input goes through a 1x1 convolution and a norm.
    """

    def __init__(self, channels: int, shape: Sequence[int], stride: int, norm: NormFactory) -> None:
        super().__init__()
        width = shape[0]
        self.branch = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            norm(shape),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            norm(shape),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or channels != width:
            projection = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.skip = nn.Sequential(projection, norm(shape))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.branch(x) + self.skip(x))
        return out


def resnet(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``resnet``: a 3x3 convolution with norm and ReLU, one block per stage, global average
    pooling, linear.
    """
    channels, height, width = input_shape
    shape = (WIDTHS[0], height, width)
    layers: list[nn.Module] = [
        nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False),
        norm(shape),
        nn.ReLU(),
    ]
    for i, wide in enumerate(WIDTHS):
        before, stride = shape[0], 1 if i == 0 else 2
        shape = (wide, *shape[1:]) if i == 0 else (wide, halved(shape[1]), halved(shape[2]))
        layers.append(Block(before, shape, stride, norm))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], classes)
    )
