"""Parts of data sets for tests."""

import torch
from torch import Tensor

from bnblind.experiments.datasets import Part, Scale


def scaled_part(images: Tensor, labels: Tensor) -> Part:
    """A part whose scaled images are these, whatever its pixels are."""
    channels = images.shape[1]
    scale = Scale(torch.zeros(channels).double(), torch.ones(channels).double(), 2)
    part = Part(torch.zeros(images.shape, dtype=torch.uint8), labels, scale)
    part.__dict__["images"] = images  # where the cached property keeps them
    return part


def some(part: Part, rows: Tensor | slice) -> Part:
    """The samples at these positions."""
    return Part(part.pixels[rows], part.labels[rows], part.scale)
