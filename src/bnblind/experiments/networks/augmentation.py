"""Random changes of training images, by name, on the grey values of a whole batch at once.

To add one, write a function with this signature and name it in ``AUGMENTATIONS``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bnblind.experiments.datasets import Part

PADDING = 4


def crop_flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """``crop_flip``: each image (n, C, H, W), padded with 4 pixels of 0, is cropped to its size at
    a random place and mirrored with probability 1/2 (He et al. 2016, section 4.2).
    """
    count, _, height, width = pixels.shape
    # Positions are drawn, and stay, on the processor: the same ones for every device.
    top, left = torch.randint(0, 2 * PADDING + 1, (2, count), generator=generator)
    mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    # Every place's crop as a view, of which one an image is copied.
    crops = F.pad(pixels, [PADDING] * 4).unfold(2, height, 1).unfold(3, width, 1)
    images = crops[torch.arange(count), :, top, left]
    return torch.where(mirrored.to(images.device), images.flip(3), images)


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "none": lambda pixels, generator: pixels,
    "crop_flip": crop_flip,
}


@dataclass(frozen=True)
class Augmented:
    """A part whose images are changed anew each time they are used, then scaled."""

    part: Part
    change: Callable[[Tensor, torch.Generator], Tensor]
    generator: torch.Generator

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.part.scale(self.change(self.part.pixels[rows], self.generator))
