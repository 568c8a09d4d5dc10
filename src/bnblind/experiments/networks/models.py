"""The networks. A model takes the input's shape, the number of classes and a norm factory.

To add one, write a function with this signature and name it in ``MODELS``.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod

from torch import Tensor, nn

from bnblind.errors import unknown
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.resnet import resnet
from bnblind.norms import NormFactory, build_norm


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


def head_relu(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``head_relu``: ``head`` with a ReLU between norm and classifier."""
    *front, classifier = head(input_shape, classes, norm)
    return nn.Sequential(*front, nn.ReLU(), classifier)


def mlp(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``mlp``: hidden layers of 128 and 64, each with norm and ReLU."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(input_shape), 128),
        norm((128,)),
        nn.ReLU(),
        nn.Linear(128, 64),
        norm((64,)),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


def mini_vgg(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``mini_vgg``: three 3x3 convolutions (16, 32, 32 channels) with ReLU, maximum pooling
    between them, then FC128 - norm - ReLU - FC128 - ReLU - linear.

    One norm, after the first fully connected layer, where the authors place it in VGG-11.
    """
    channels, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), 128),
        norm((128,)),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def conv(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``conv``: three 3x3 convolutions (16, 32, 32 channels), each with norm and ReLU, average
    pooling between them, global average pooling before the classifier.

    Average, not maximum: neighbouring positions that see the same background tie in a maximum,
    whose derivatives are then undefined at the batch mean.
    """
    channels, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        norm((16, height, width)),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        norm((32, height // 2, width // 2)),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        norm((32, height // 4, width // 4)),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, classes),
    )


MODELS: dict[str, Callable[[Sequence[int], int, NormFactory], nn.Module]] = {
    "head": head,
    "head_relu": head_relu,
    "mlp": mlp,
    "mini_vgg": mini_vgg,
    "resnet": resnet,
    "conv": conv,
}


def build_model(model: str, norm: str, input_shape: Sequence[int], classes: int) -> nn.Module:
    """The network ``model`` with the variant ``norm`` at its normalization layers.

    Raises:
        BadInput: unknown model or norm, or a norm not defined for the model's features.
    """
    if model not in MODELS:
        raise unknown("model", model, MODELS)
    return MODELS[model](input_shape, classes, lambda shape: build_norm(norm, shape))


def kept_model(cell: NetworkCell, data: Dataset, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network of a cell with the weights of some epoch."""
    model = build_model(cell.model, cell.norm, data.input_shape, data.classes)
    model.load_state_dict(dict(weights))
    return model
