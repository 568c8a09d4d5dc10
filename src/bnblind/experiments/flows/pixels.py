"""Pixels as densities see them: grey values, dequantized; likelihoods in bits per dimension."""

from math import log

import torch
from torch import Tensor

from bnblind.errors import BadInput
from bnblind.experiments.datasets import Dataset, Part
from bnblind.standardization import per_channel


def grey_values(images: Tensor, data: Dataset, levels: int) -> Tensor:
    """Unscaled pixels, 0, 1, ..., levels - 1 as float32.

    Args:
        images: (n, C, H, W), scaled by the mean and standard deviation of ``data``.

    Raises:
        BadInput: the pixels are not multiples of 1 / (levels - 1).
    """
    unit = images * per_channel(data.std, images) + per_channel(data.mean, images)
    values = unit * (levels - 1)
    grey = values.round()
    off = (values - grey).abs().max().item()
    if off > 1e-3 or grey.min() < 0 or grey.max() > levels - 1:
        raise BadInput(
            f"pixels are not {levels} grey values 0 to {levels - 1}: found {values.min().item():g} "
            f"to {values.max().item():g}, up to {off:.2g} off an integer"
        )
    return grey.float()


def select_pair(part: Part, data: Dataset, pair: tuple[int, int], levels: int) -> Part:
    """The images of the two classes of ``pair`` as grey values, labelled 1 (first) and 0; raises
    BadInput for one class twice, or a class without images.
    """
    positive, negative = ((part.labels == label).sum().item() for label in pair)
    if pair[0] == pair[1] or not positive or not negative:
        raise BadInput(
            f"a pair needs images of two classes; found {positive} of class {pair[0]} and "
            f"{negative} of class {pair[1]}; classes: 0 to {data.classes - 1}"
        )
    rows = ((part.labels == pair[0]) | (part.labels == pair[1])).nonzero().flatten()
    labels = (part.labels[rows] == pair[0]).long()
    return Part(grey_values(part.images[rows], data, levels), labels)


def dequantize(grey: Tensor, levels: int, generator: torch.Generator) -> Tensor:
    """Grey values plus uniform noise of one level, scaled to [0, 1]."""
    noise = torch.rand(grey.shape, generator=generator)
    return (grey + noise) / levels


def bits_per_dimension(log_likelihood: float, dimensions: int, levels: int) -> float:
    """Of a mean log-density in nats of images scaled to [0, 1]: lower is better.

    An upper bound on the mean code length per pixel of the grey values themselves (Theis et al.,
    arXiv:1511.01844, section 3.1).
    """
    return (log(levels) - log_likelihood / dimensions) / log(2)
