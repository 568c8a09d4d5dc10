"""The networks. A model takes the input's shape, the number of classes and a norm factory.

To add one, write a function with this signature and name it in ``MODELS``.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from math import prod

from torch import Tensor, nn

from bnblind.errors import BadInput, unknown
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.deep import densenet121, residual, resnet18, vgg11
from bnblind.norms import NormFactory, build_norm

KEYWORD = Parameter.KEYWORD_ONLY


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


def resnet(input_shape: Sequence[int], classes: int, norm: NormFactory) -> nn.Sequential:
    """``resnet``: a residual network of three stages with 8, 16 and 32 channels, a block each."""
    return residual(input_shape, classes, norm, (8, 16, 32), blocks=1)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "head": head,
    "head_relu": head_relu,
    "mlp": mlp,
    "mini_vgg": mini_vgg,
    "resnet": resnet,
    "conv": conv,
    "vgg11": vgg11,
    "resnet18": resnet18,
    "densenet121": densenet121,
}
"""Name -> function of input shape, classes and norm factory, and of ``width`` and ``dropout`` as
keywords if it has them.
"""


def he(model: nn.Module) -> None:
    """``he``: normal weights of variance 2 / inputs, biases 0 (He et al. 2015)."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def vgg(model: nn.Module) -> None:
    """``vgg``: the authors' of VGG: convolutions normal with variance 2 / outputs, linear layers
    with standard deviation 0.01, biases 0.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


INITS: dict[str, Callable[[nn.Module], None]] = {
    "torch": lambda model: None,  # each layer's own
    "he": he,
    "vgg": vgg,
}


def build_model(
    model: str,
    norm: str,
    input_shape: Sequence[int],
    classes: int,
    init: str = "torch",
    **options: float,
) -> nn.Module:
    """The network ``model`` with the variant ``norm`` at its normalization layers; ``options``:
    ``width`` and ``dropout``, of networks that have them. Raises BadInput if a name is unknown, the
    norm not defined for the model's features, the model without an option, or too deep for the
    images.
    """
    if model not in MODELS:
        raise unknown("model", model, MODELS)
    if init not in INITS:
        raise unknown("init", init, INITS)
    allowed = [name for name, p in signature(MODELS[model]).parameters.items() if p.kind is KEYWORD]
    if wrong := sorted({*options} - {*allowed}):
        known = ", ".join(allowed) or "none"
        raise BadInput(f"model {model} has no {' and no '.join(wrong)}; allowed: {known}")
    built = MODELS[model](input_shape, classes, lambda shape: build_norm(norm, shape), **options)
    INITS[init](built)
    return built


def kept_model(cell: NetworkCell, data: Dataset, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network of a cell with the weights of some epoch."""
    model = build_model(cell.model, cell.norm, data.input_shape, data.classes, **cell.options)
    model.load_state_dict(dict(weights))
    return model
