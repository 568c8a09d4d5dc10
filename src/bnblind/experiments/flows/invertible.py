"""Maps with an exact inverse and a known log-determinant, and how they are put together.

In an affine coupling, half of the features set scale and shift of the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Invertible(nn.Module, ABC):
    """A bijection of features (n, ...), sample by sample."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of ``x``, and log |det dy/dx| of each sample, (n,)."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """The ``x`` whose image is ``y``."""


class Chain(Invertible):
    def __init__(self, steps: Iterable[Invertible]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for step in self.steps:
            x, log_det = step(x)
            total = total + log_det
        return x, total

    def inverse(self, y: Tensor) -> Tensor:
        for step in reversed(self.steps):
            assert isinstance(step, Invertible)
            y = step.inverse(y)
        return y


class Logit(Invertible):
    """Pixels in [0, 1] to the real line: logit(1/2 + constraint (x - 1/2)), constraint < 1.

    Source: Dinh et al., arXiv:1605.08803, section 4.1; the authors' constraint is 0.9.
    """

    def __init__(self, constraint: float) -> None:
        super().__init__()
        self.constraint = constraint

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p = 0.5 + self.constraint * (x - 0.5)
        log_p, log_q = p.log(), (1 - p).log()
        return log_p - log_q, (log(self.constraint) - log_p - log_q).flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        return 0.5 + (y.sigmoid() - 0.5) / self.constraint


class Flatten(Invertible):
    """(n, *shape) to (n, D)."""

    def __init__(self, shape: Iterable[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        return y.unflatten(1, self.shape)


class Squeeze(Invertible):
    """(n, C, H, W) to (n, 4C, H/2, W/2): every 2 x 2 square becomes four channels."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        return F.pixel_shuffle(y, 2)


class FactorOut(Invertible):
    """Half of the channels are done; the others go on through ``rest``.

    Of every square of 2 x 2 pixels that :class:`Squeeze` took apart those of the diagonal go on.
    (n, C, H, W) to (n, D): the finished half flattened, then the image of ``rest``, (n, D/2).
    """

    def __init__(self, shape: tuple[int, int, int], rest: Invertible) -> None:
        super().__init__()
        self.shape, self.rest = shape, rest
        self.onwards = [c for c in range(shape[0]) if c % 4 in (0, 3)]
        self.done = [c for c in range(shape[0]) if c % 4 in (1, 2)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, log_det = self.rest(x[:, self.onwards])
        return torch.cat([x[:, self.done].flatten(1), y], 1), log_det

    def inverse(self, y: Tensor) -> Tensor:
        done, onwards = y.chunk(2, 1)
        x = y.new_empty(len(y), *self.shape)
        x[:, self.done] = done.unflatten(1, (len(self.done), *self.shape[1:]))
        x[:, self.onwards] = self.rest.inverse(onwards)
        return x


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

    ``s = gain * tanh(s')``, one gain per feature, where the network, (n, C, ...) to (n, 2C, ...),
    gives s' and then t; the mask is bool and of the shape of one sample, True stays. Source: Dinh
    et al., arXiv:1605.08803, equations 7 to 9.
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
