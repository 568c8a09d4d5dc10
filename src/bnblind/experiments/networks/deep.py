"""The paper's networks, for images of 32 x 32 pixels and others that are large enough.

``width`` is the number of channels of the first stage (of DenseNet the growth), from which all
others follow; the default is the full size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnblind.errors import BadInput
from bnblind.norms import NormFactory

Shape = tuple[int, int, int]


def halved(size: int) -> int:
    """Side of the image after a step of 2 that drops no pixel: half of it, rounded up."""
    return (size + 1) // 2


def check_size(name: str, input_shape: Sequence[int], halvings: int, least: int) -> None:
    """Raise BadInput unless the images have at least ``least`` pixels a side."""
    if min(input_shape[1:]) < least:
        raise BadInput(
            f"{name} halves the image {halvings} times; found images of "
            f"{input_shape[1]} x {input_shape[2]} pixels; allowed: at least {least} x {least}"
        )


VGG11 = (1, 0, 2, 0, 4, 4, 0, 8, 8, 0, 8, 8, 0)
"""Channels of its convolutions in widths; 0 is a maximum pooling."""


def vgg11(
    input_shape: Sequence[int],
    classes: int,
    norm: NormFactory,
    *,
    width: int = 64,
    dropout: float = 0.5,
) -> nn.Sequential:
    """``vgg11``: VGG-11 (Simonyan & Zisserman 2015) with one norm, behind the first of its three
    fully connected layers, where the authors place it; ``dropout`` behind the first two.

    A pooling rounds an odd side up, so that 28 x 28 pixels are enough; of larger images than
    32 x 32 the features are averaged over the positions, as the authors do.
    """
    halvings = VGG11.count(0)
    # Every pooling finds two pixels a side, or it would do nothing.
    check_size("vgg11", input_shape, halvings, least=2 ** (halvings - 1) + 1)
    layers: list[nn.Module] = []
    channels = input_shape[0]
    for wide in VGG11:
        if wide:
            layers += [nn.Conv2d(channels, wide * width, 3, padding=1), nn.ReLU()]
            channels = wide * width
        else:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
    hidden = 64 * width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(channels, hidden), norm((hidden,)), nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )  # fmt: skip


class Block(nn.Module):
    """conv - norm - ReLU - conv - norm, plus the input, then ReLU (He et al. 2016). Where the shape
    changes, the input goes through a 1x1 convolution and a norm.
    """

    def __init__(self, channels: int, shape: Sequence[int], stride: int, norm: NormFactory) -> None:
        super().__init__()
        width = shape[0]
        self.branch = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), norm(shape), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), norm(shape),
        )  # fmt: skip
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or channels != width:
            projection = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.skip = nn.Sequential(projection, norm(shape))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.branch(x) + self.skip(x))
        return out


def residual(
    input_shape: Sequence[int], classes: int, norm: NormFactory, widths: Sequence[int], blocks: int
) -> nn.Sequential:
    """A 3x3 convolution with norm and ReLU, ``blocks`` blocks of each width, of which every width
    but the first halves the image, global average pooling, linear.
    """
    channels, height, breadth = input_shape
    shape = (widths[0], height, breadth)
    first = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
    layers: list[nn.Module] = [first, norm(shape), nn.ReLU()]
    for stage, wide in enumerate(widths):
        for number in range(blocks):
            stride, before = 2 if stage and not number else 1, shape[0]
            sides = (halved(side) for side in shape[1:]) if stride > 1 else shape[1:]
            shape = (wide, *sides)
            layers.append(Block(before, shape, stride, norm))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes)
    )


NARROWEST = 8
"""Channels of a residual network's first stage, at least. With fewer, the gradient of a 1x1
convolution with a stride is written beyond its memory, where images are channels-last and the
processor's level is x86-64-v3: oneDNN's issue 6035 (github.com/uxlfoundation/oneDNN).
"""


def resnet18(
    input_shape: Sequence[int], classes: int, norm: NormFactory, *, width: int = 64
) -> nn.Sequential:
    """``resnet18``: ResNet-18 (He et al. 2016) for small images: its first convolution is 3x3 with
    stride 1, without pooling. Raises BadInput if ``width`` is less than ``NARROWEST``.
    """
    check_size("resnet18", input_shape, 3, least=5)
    if width < NARROWEST:
        raise BadInput(
            f"resnet18: found width {width}; allowed: at least {NARROWEST}, since a gradient of "
            "narrower ones is wrong or ends the process (oneDNN's issue 6035)"
        )
    return residual(input_shape, classes, norm, [width * 2**stage for stage in range(4)], 2)


class DenseLayer(nn.Module):
    """norm - ReLU - 1x1 - norm - ReLU - 3x3; ``growth`` channels more behind those of the input."""

    def __init__(self, shape: Shape, growth: int, norm: NormFactory) -> None:
        super().__init__()
        wide = 4 * growth
        self.branch = nn.Sequential(
            norm(shape), nn.ReLU(), nn.Conv2d(shape[0], wide, 1, bias=False),
            norm((wide, *shape[1:])), nn.ReLU(),
            nn.Conv2d(wide, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.branch(x)], 1)


DENSENET121 = (6, 12, 24, 16)
"""Layers of its blocks."""


def densenet121(
    input_shape: Sequence[int], classes: int, norm: NormFactory, *, width: int = 32
) -> nn.Sequential:
    """``densenet121``: DenseNet-121 (Huang et al. 2017) for small images: its first convolution is
    3x3 with stride 1, without norm and pooling. ``width`` is the growth. A pooling leaves out a
    last odd row and column.
    """
    check_size("densenet121", input_shape, 3, least=8)
    channels, height, breadth = input_shape
    shape: Shape = (2 * width, height, breadth)
    layers: list[nn.Module] = [nn.Conv2d(channels, shape[0], 3, padding=1, bias=False)]
    for number, length in enumerate(DENSENET121):
        if number:
            half = shape[0] // 2
            transition = nn.Conv2d(shape[0], half, 1, bias=False)
            layers += [norm(shape), nn.ReLU(), transition, nn.AvgPool2d(2)]
            shape = (half, shape[1] // 2, shape[2] // 2)
        for _ in range(length):
            layers.append(DenseLayer(shape, width, norm))
            shape = (shape[0] + width, *shape[1:])
    return nn.Sequential(
        *layers, norm(shape), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(shape[0], classes),
    )  # fmt: skip
