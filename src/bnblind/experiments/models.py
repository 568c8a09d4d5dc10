"""The networks. A model takes the input's shape, the number of classes and a norm factory.

To add one, write a function with this signature and name it in ``MODELS``.
"""

from collections.abc import Callable, Sequence
from math import prod

from torch import nn

from bnblind.errors import unknown
from bnblind.norms import Norm, build_norm

NormFactory = Callable[[Sequence[int]], Norm]
"""Shape of one sample's features -> the layer that normalizes them."""


def head(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``head``: FC128 - ReLU - FC32 - norm - linear, so that the norm feeds the classifier."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(input_shape), 128),
        nn.ReLU(),
        nn.Linear(128, 32),
        norm((32,)),
        nn.Linear(32, classes),
    )


MODELS: dict[str, Callable[[Sequence[int], int, NormFactory], nn.Module]] = {"head": head}


def build_model(model: str, norm: str, input_shape: Sequence[int], classes: int) -> nn.Module:
    """The network ``model`` with the variant ``norm`` at its normalization layers.

    Raises:
        BadInput: unknown model or norm, or a norm not defined for the model's features.
    """
    if model not in MODELS:
        raise unknown("model", model, MODELS)
    return MODELS[model](input_shape, classes, lambda shape: build_norm(norm, shape))
