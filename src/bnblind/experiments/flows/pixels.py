"""Pixels as densities see them: grey values, dequantized; likelihoods in bits per dimension."""

from math import log

import torch
from torch import Tensor

from bnblind.errors import BadInput
from bnblind.experiments.datasets import Part


def select_pair(part: Part, pair: tuple[int, int], classes: int) -> Part:
    """The images of the two classes of ``pair``, labelled 1 (first) and 0; raises BadInput for one
    class twice, or a class without images.
    """
    positive, negative = ((part.labels == label).sum().item() for label in pair)
    if pair[0] == pair[1] or not positive or not negative:
        raise BadInput(
            f"a pair needs images of two classes; found {positive} of class {pair[0]} and "
            f"{negative} of class {pair[1]}; classes: 0 to {classes - 1}"
        )
    rows = ((part.labels == pair[0]) | (part.labels == pair[1])).nonzero().flatten()
    return Part(part.pixels[rows], (part.labels[rows] == pair[0]).long(), part.scale)


def dequantize(grey: Tensor, levels: int, generator: torch.Generator) -> Tensor:
    """Grey values plus uniform noise of one level, scaled to [0, 1]; the noise is drawn on the
    processor, the same for every device.
    """
    noise = torch.rand(grey.shape, generator=generator).to(grey.device)
    return (grey + noise) / levels


def bits_per_dimension(log_likelihood: float, dimensions: int, levels: int) -> float:
    """Of a mean log-density in nats of images scaled to [0, 1]: lower is better. An upper bound on
    the mean code length per pixel of the grey values themselves (Theis et al., arXiv:1511.01844,
    section 3.1).
    """
    return (log(levels) - log_likelihood / dimensions) / log(2)
