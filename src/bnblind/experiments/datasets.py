"""A prepared data set: grey values, split, with what each is to a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from bnblind.errors import BadInput

SPLITS = ("train", "validation", "test")
WHOLE = 2**24
"""A part of at most so many values is scaled once, 64 MB; a larger one batch by batch."""


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation (C,) float64 of pixels in [0, 1], and the grey values that they
    have, 0 to ``levels`` - 1.
    """

    mean: Tensor
    std: Tensor
    levels: int

    @cached_property
    def table(self) -> Tensor:
        """What each grey value is to a network, by channel, (C, levels) float32."""
        levels = torch.arange(self.levels, dtype=torch.float64, device=self.mean.device)
        unit = levels / (self.levels - 1)
        return ((unit - self.mean[:, None]) / self.std[:, None]).float()

    def __call__(self, pixels: Tensor) -> Tensor:
        """Scaled images, of the shape of ``pixels`` (n, C, H, W), float32."""
        first = self.levels * torch.arange(pixels.shape[1], device=pixels.device)
        places = pixels + first.int().view(-1, 1, 1)
        return self.table.flatten().index_select(0, places.flatten()).view(pixels.shape)

    def to(self, device: torch.device) -> "Scale":
        return Scale(self.mean.to(device), self.std.to(device), self.levels)


@dataclass(frozen=True)
class Part:
    """One part of a split: ``pixels`` (n, C, H, W) uint8, ``labels`` (n,) int64.

    Raises:
        BadInput: a pixel that the scale has no value for.
    """

    pixels: Tensor
    labels: Tensor
    scale: Scale

    def __post_init__(self) -> None:
        if not len(self.pixels) or self.pixels.device.type != "cpu":
            return  # on a device they have come from here
        if (found := int(self.pixels.max())) >= self.scale.levels:
            raise BadInput(f"grey values must be below {self.scale.levels}; found {found}")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def images(self) -> Tensor:
        """All of them, scaled, (n, C, H, W) float32."""
        return self.scale(self.pixels)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """Those at some positions, scaled, (n, C, H, W) float32."""
        if self.pixels.numel() <= WHOLE:
            return self.images[rows]
        return self.scale(self.pixels[rows])

    def chunks(self, length: int) -> "Chunks":
        return Chunks(self, length)

    def first(self, count: int) -> "Part":
        return Part(self.pixels[:count], self.labels[:count], self.scale)


@dataclass(frozen=True)
class Chunks(Sequence[Tensor]):
    """A part, some samples at a time, scaled when they are read."""

    part: Part
    length: int

    def __len__(self) -> int:
        return -(-len(self.part) // self.length)

    def __getitem__(self, place: Any) -> Any:
        if not 0 <= place < len(self):
            raise IndexError(f"chunk {place} of {len(self)}")
        return self.part[place * self.length : (place + 1) * self.length]


@dataclass(frozen=True)
class Dataset:
    """Data that are split once for all, scaled by the training part's mean and deviation."""

    train: Part
    validation: Part
    test: Part

    @property
    def scale(self) -> Scale:
        return self.train.scale

    def to(self, device: torch.device) -> "Dataset":
        """The same on another device; on its own, this one."""
        if device == self.device:
            return self
        scale, parts = self.scale.to(device), (self.train, self.validation, self.test)
        return Dataset(*(Part(p.pixels.to(device), p.labels.to(device), scale) for p in parts))

    @property
    def device(self) -> torch.device:
        return self.train.pixels.device

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train.pixels.shape[1:])

    @property
    def classes(self) -> int:
        return int(self.train.labels.max()) + 1


def scale_of(pixels: Tensor, levels: int) -> Scale:
    """Of images (n, C, H, W) uint8: exact sums, rounded once."""
    mean: list[float] = []
    std: list[float] = []
    for channel in range(pixels.shape[1]):
        counts = pixels[:, channel].flatten().bincount(minlength=levels).tolist()
        total, top = sum(counts), levels - 1
        first = Fraction(sum(level * n for level, n in enumerate(counts)), total * top)
        second = Fraction(sum(level**2 * n for level, n in enumerate(counts)), total * top**2)
        mean.append(float(first))
        std.append(sqrt(second - first**2))
    centre, spread = (torch.tensor(own, dtype=torch.float64) for own in (mean, std))
    return Scale(centre, spread, levels)


def in_parts(pixels: Tensor, labels: Tensor, levels: int, rows: dict[str, Tensor]) -> Dataset:
    """The samples at these positions, scaled by the training part."""
    scale = scale_of(pixels[rows["train"]], levels)
    return Dataset(**{name: Part(pixels[of], labels[of], scale) for name, of in rows.items()})


def split_anew(data: Dataset, generator: torch.Generator) -> Dataset:
    """The same samples in parts drawn anew, stratified by label, about as large as they were, and
    scaled by the new training part. They are drawn on the processor, the same for every device.
    """
    device, data = data.device, data.to(torch.device("cpu"))
    parts = [getattr(data, name) for name in SPLITS]
    labels = torch.cat([part.labels for part in parts])
    pixels = torch.cat([part.pixels for part in parts])
    ends = torch.tensor([len(part) for part in parts]).cumsum(0) / len(labels)
    drawn: dict[str, list[Tensor]] = {name: [] for name in SPLITS}
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        cuts = (ends * len(members)).round().long().tolist()
        for name, start, end in zip(SPLITS, [0, *cuts], cuts, strict=False):
            drawn[name].append(members[start:end])
    rows = {name: torch.cat(of).sort().values for name, of in drawn.items()}
    return in_parts(pixels, labels, data.scale.levels, rows).to(device)


SPLITTINGS: dict[str, Callable[[Dataset, torch.Generator], Dataset]] = {
    "prepared": lambda data, generator: data,
    "own": split_anew,
}
"""Which samples are in which part for a run: as prepared, or drawn anew for each seed."""
