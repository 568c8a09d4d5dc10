"""The networks. A model takes the input's shape, the number of classes and a norm factory.

To add one, write a function with this signature and name it in ``MODELS``.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod

from torch import Tensor, nn

from bnblind.errors import unknown
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.norms import NormFactory, build_norm


def head(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``head``: FC128 - ReLU - FC32 - norm - linear, so that the norm feeds the classifier."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(prod(input_shape), 128), nn.ReLU(),
        nn.Linear(128, 32), norm((32,)),
        nn.Linear(32, classes),
    )  # fmt: skip


def head_relu(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``head_relu``: ``head`` with a ReLU between norm and classifier."""
    *front, classifier = head(input_shape, classes, norm)
    return nn.Sequential(*front, nn.ReLU(), classifier)


def mlp(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``mlp``: hidden layers of 128 and 64, each with norm and ReLU."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(prod(input_shape), 128), norm((128,)), nn.ReLU(),
        nn.Linear(128, 64), norm((64,)), nn.ReLU(),
        nn.Linear(64, classes),
    )  # fmt: skip


def mini_vgg(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``mini_vgg``: three 3x3 convolutions (16, 32, 32 channels) with ReLU, maximum pooling
    between them, then FC128 - norm - ReLU - FC128 - ReLU - linear.

    One norm, after the first fully connected layer, where the authors place it in VGG-11.
    """
    channels, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), 128), norm((128,)), nn.ReLU(),
        nn.Linear(128, 128), nn.ReLU(),
        nn.Linear(128, classes),
    )  # fmt: skip


def conv(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``conv``: three 3x3 convolutions (16, 32, 32 channels), each with norm and ReLU, average
    pooling between them, global average pooling before the classifier.

    Average, not maximum: neighbouring positions that see the same background tie in a maximum,
    whose derivatives are then undefined at the batch mean.
    """
    channels, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), norm((16, height, width)), nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), norm((32, height // 2, width // 2)), nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), norm((32, height // 4, width // 4)), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, classes),
    )  # fmt: skip


RESNET_WIDTHS = (8, 16, 32)
"""Channels of the stages, one block each; every stage but the first halves the image."""


def halved(size: int) -> int:
    """Side of the image after a 3x3 convolution of stride 2 with padding 1."""
    return (size + 1) // 2


class Block(nn.Module):
    """conv - norm - ReLU - conv - norm, plus the input, then ReLU (He et al. 2016).

    Where the shape changes, the input goes through a 1x1 convolution and a norm.
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


def resnet(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``resnet``: a 3x3 convolution with norm and ReLU, one block per stage, global average
    pooling, linear.
    """
    channels, height, width = input_shape
    shape = (RESNET_WIDTHS[0], height, width)
    first = nn.Conv2d(channels, RESNET_WIDTHS[0], 3, padding=1, bias=False)
    layers: list[nn.Module] = [first, norm(shape), nn.ReLU()]
    for i, wide in enumerate(RESNET_WIDTHS):
        before, stride = shape[0], 1 if i == 0 else 2
        shape = (wide, *shape[1:]) if i == 0 else (wide, halved(shape[1]), halved(shape[2]))
        layers.append(Block(before, shape, stride, norm))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(RESNET_WIDTHS[-1], classes)
    )


MODELS: dict[str, Callable[[Sequence[int], int, NormFactory], nn.Module]] = {
    "head": head,
    "head_relu": head_relu,
    "mlp": mlp,
    "mini_vgg": mini_vgg,
    "resnet": resnet,
    "conv": conv,
}


def he(model: nn.Module) -> None:
    """``he``: normal weights of variance 2 / inputs, biases 0 (He et al. 2015)."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


INITS: dict[str, Callable[[nn.Module], None]] = {
    "torch": lambda model: None,  # each layer's own
    "he": he,
}


def build_model(
    model: str, norm: str, input_shape: Sequence[int], classes: int, init: str = "torch"
) -> nn.Module:
    """The network ``model`` with the variant ``norm`` at its normalization layers; raises BadInput
    if a name is unknown, or the norm not defined for the model's features.
    """
    if model not in MODELS:
        raise unknown("model", model, MODELS)
    if init not in INITS:
        raise unknown("init", init, INITS)
    built = MODELS[model](input_shape, classes, lambda shape: build_norm(norm, shape))
    INITS[init](built)
    return built


def kept_model(cell: NetworkCell, data: Dataset, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network of a cell with the weights of some epoch."""
    model = build_model(cell.model, cell.norm, data.input_shape, data.classes)
    model.load_state_dict(dict(weights))
    return model
