"""The paper's networks: their sizes, and torchvision's outputs where it has them."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from bnblind import BadInput
from bnblind.experiments.networks.models import build_model

SIZES = {
    "vgg11": {"none": 28_144_010, "bn": 28_152_202, "ln": 28_152_202},
    "resnet18": {"none": 11_164_362, "bn": 11_173_962, "ln": 12_393_162},
    "densenet121": {"none": 6_872_778, "bn": 6_956_298, "ln": 16_580_298},
}
SMALL = {"vgg11": 4, "resnet18": 8, "densenet121": 2}


def small(model: str, norm: str = "none", side: int = 32) -> nn.Module:
    torch.manual_seed(0)
    return build_model(model, norm, (3, side, side), 10, width=SMALL[model])


@pytest.mark.parametrize(("model", "norm"), [(m, n) for m in SIZES for n in SIZES[m]])
def test_the_full_networks_have_the_papers_parameters(model: str, norm: str) -> None:
    with torch.device("meta"):
        built = build_model(model, norm, (3, 32, 32), 10)
    assert sum(p.numel() for p in built.parameters()) == SIZES[model][norm]


def theirs_vgg11() -> nn.Module:
    model = torchvision.models.vgg11(num_classes=10)
    model.avgpool = nn.Identity()
    model.classifier[0] = nn.Linear(512, 4096)
    return model


def theirs_resnet18() -> nn.Module:
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def theirs_densenet121() -> nn.Module:
    model = torchvision.models.densenet121(num_classes=10)
    model.features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    for name in ("norm0", "relu0", "pool0"):
        setattr(model.features, name, nn.Identity())
    return model


@pytest.mark.parametrize(
    ("model", "norm", "theirs"),
    [
        ("vgg11", "none", theirs_vgg11),
        ("resnet18", "bn", theirs_resnet18),
        ("densenet121", "bn", theirs_densenet121),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_outputs_are_torchvisions_with_the_same_weights(
    model: str, norm: str, theirs: Callable[[], nn.Module], training: bool
) -> None:
    """Weights and running statistics are taken over in their order, which is the same."""
    torch.manual_seed(0)
    other = theirs()
    options = {"dropout": 0.0} if model == "vgg11" else {}
    built = build_model(model, norm, (3, 32, 32), 10, **options)
    if model == "vgg11":
        other.classifier[2] = other.classifier[5] = nn.Identity()
    for ours, known in zip(built.parameters(), other.parameters(), strict=True):
        assert ours.shape == known.shape
        ours.data.copy_(known)
    x = torch.randn(4, 3, 32, 32)
    kinds = ("running_mean", "running_var")
    known_buffers = {n: b for n, b in other.named_buffers() if n.endswith(kinds)}
    for ours, known in zip(built.buffers(), known_buffers.values(), strict=True):
        known.uniform_(0.5, 1.5)
        ours.copy_(known)
    built.train(training)
    other.train(training)
    torch.testing.assert_close(built(x), other(x), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("norm", ["none", "bn", "ln", "gn", "in", "bn_renorm", "identity_blocked"])
@pytest.mark.parametrize("model", ["resnet18", "densenet121"])
@pytest.mark.parametrize("side", [28, 32])
def test_every_norm_fits_every_place(model: str, norm: str, side: int) -> None:
    built = small(model, norm, side)
    built(torch.randn(3, 3, side, side)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())


@pytest.mark.parametrize(("model", "least"), [("vgg11", 17), ("resnet18", 5), ("densenet121", 8)])
def test_a_network_too_deep_for_the_images_is_refused(model: str, least: int) -> None:
    small(model, "bn", least)(torch.randn(2, 3, least, least))
    found, allowed = (f"{side} x {side}" for side in (least - 1, least))
    message = f"{model} halves .* images of {found} pixels; allowed: at least {allowed}"
    with pytest.raises(BadInput, match=message):
        small(model, "bn", least - 1)


def test_a_residual_network_is_not_so_narrow_that_its_gradients_are_wrong() -> None:
    with pytest.raises(BadInput, match="resnet18: found width 7; allowed: at least 8, since"):
        build_model("resnet18", "bn", (1, 28, 28), 10, width=7)


def test_a_width_scales_every_layer() -> None:
    """Twice the width, about four times the weights."""
    for model, width in SMALL.items():
        built = (
            build_model(model, "none", (3, 32, 32), 10, width=of) for of in (4 * width, 8 * width)
        )
        sizes = [sum(p.numel() for p in own.parameters()) for own in built]
        assert 3.5 < sizes[1] / sizes[0] <= 4


def test_dropout_is_the_networks_own_unless_given() -> None:
    rates = [
        [layer.p for layer in built.modules() if isinstance(layer, nn.Dropout)]
        for built in (
            build_model("vgg11", "bn", (3, 32, 32), 10, width=4),
            build_model("vgg11", "bn", (3, 32, 32), 10, width=4, dropout=0.1),
        )
    ]
    assert rates == [[0.5, 0.5], [0.1, 0.1]]


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("head", {"width": 4}, "model head has no width; allowed: none"),
        ("resnet18", {"dropout": 0.5}, "model resnet18 has no dropout; allowed: width"),
    ],
)
def test_an_option_that_a_network_lacks_is_refused(
    model: str, options: dict[str, float], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        build_model(model, "bn", (3, 32, 32), 10, **options)


def test_vggs_initialization_is_the_authors() -> None:
    torch.manual_seed(0)
    built = build_model("vgg11", "none", (3, 32, 32), 10, init="vgg", width=32)
    for layer in built.modules():
        if isinstance(layer, nn.Conv2d):
            outputs = layer.out_channels * 9
            assert layer.weight.std().item() == pytest.approx((2 / outputs) ** 0.5, rel=0.1)
        elif isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
        if isinstance(layer, nn.Linear | nn.Conv2d):
            assert layer.bias is not None
            assert not layer.bias.any()
