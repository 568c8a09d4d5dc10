"""Networks that nobody tuned the library for, with random weights and small inputs."""

import os
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

N, CLASSES = 4, 10

SIZES = {
    "torchvision": {
        **dict.fromkeys(["resnet18", "resnet50", "resnext50_32x4d", "vgg11_bn", "densenet121"], 32),
        **dict.fromkeys(["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"], 32),
        **dict.fromkeys(["mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0"], 32),
        **dict.fromkeys(["regnet_y_400mf", "regnet_x_400mf", "googlenet"], 32),
        "inception_v3": 75,
    },
    "timm": {
        **dict.fromkeys(["efficientnet_lite0", "mobilenetv3_small_050", "ghostnet_050"], 32),
        **dict.fromkeys(["lcnet_035", "mixnet_s", "repvgg_a0", "ese_vovnet19b_dw"], 32),
        **dict.fromkeys(["skresnet18", "res2net50_14w_8s", "dla34", "legacy_seresnet18"], 32),
        **dict.fromkeys(["resnet26t", "dpn48b", "cspdarknet53", "xception41"], 32),
        "convmixer_768_32": 32,
        **dict.fromkeys(["mobilevit_xxs", "starnet_s1"], 64),
        "levit_128s": 224,
    },
}
"""Library -> network -> height and width of its input."""

CURVED = {
    *("mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "regnet_y_400mf"),
    *("mobilenetv3_small_050", "ghostnet_050", "lcnet_035", "mixnet_s", "ese_vovnet19b_dw"),
    *("skresnet18", "legacy_seresnet18", "convmixer_768_32", "mobilevit_xxs", "starnet_s1"),
    "levit_128s",
}
"""Those with smooth activations, products of features or attention: not piecewise linear."""

SAMPLE = ("torchvision:mobilenet_v3_small", "torchvision:shufflenet_v2_x0_5", "timm:lcnet_035")
"""For every run of the tests; all with NETWORKS=all, as ``make networks`` sets it."""

ALL = tuple(f"{library}:{name}" for library, names in SIZES.items() for name in names)
CHOSEN = ALL if os.environ.get("NETWORKS") == "all" else SAMPLE


@dataclass(frozen=True)
class Tried:
    """A network in training mode, its batch norms by name, and a batch for it."""

    model: nn.Module
    norms: dict[str, _BatchNorm]
    x: Tensor
    labels: Tensor


def built(name: str, dtype: torch.dtype = torch.float64) -> Tried:
    """The network of that name; no parameter of its batch norms is at its start, where residual
    branches are often zero and every ReLU of a constant input at its kink.
    """
    library, _, model_name = name.partition(":")
    size = SIZES[library][model_name]
    module = pytest.importorskip(
        "torchvision.models" if library == "torchvision" else library,
        reason=f"{library} is not installed; make networks",
    )
    make = module.get_model if library == "torchvision" else module.create_model
    torch.manual_seed(0)
    model = make(model_name, num_classes=CLASSES, **OPTIONS.get(model_name, {})).to(dtype)
    x = torch.randn(N, 3, size, size, dtype=dtype)
    norms = {n: m for n, m in model.named_modules() if isinstance(m, _BatchNorm)}
    with torch.no_grad():
        for layer in norms.values():
            if layer.weight is not None:
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.3)
            layer.momentum = 0.5
        for _ in range(5):  # or running statistics let the outputs of deep networks grow to 1e6
            model(x)
    return Tried(model, norms, x, torch.arange(N) % 3)


OPTIONS = {
    "googlenet": {"init_weights": True},
    "inception_v3": {"init_weights": False, "aux_logits": False},
}
"""The default of ``init_weights`` warns that it will change; the auxiliary classifier wants an
input four times as large.
"""


def without_chance(model: nn.Module) -> nn.Module:
    """The model in training mode where batch norms are concerned, else in evaluation mode."""
    model.eval()
    for layer in model.modules():
        layer.training = isinstance(layer, _BatchNorm)
    return model


def logits(output: object) -> Tensor:
    """Of a network with auxiliary classifiers, its own outputs."""
    found = getattr(output, "logits", output)
    assert isinstance(found, Tensor)
    return found
