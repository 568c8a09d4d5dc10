"""Exchanging subclasses of batch norm: what they do besides normalizing stays, or is refused."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from bnblind import BadInput, swap_norm
from bnblind.norms import norm_class
from tests.helpers.swapping import IMAGES, outputs_and_gradients, trained


class NormAct(nn.BatchNorm2d):
    """As timm's BatchNormAct2d: it drops and activates what it has normalized."""

    def __init__(self, channels, drop=0.0, **options):
        super().__init__(channels, **options)
        self.drop, self.act = nn.Dropout(drop), nn.SiLU(inplace=True)

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


class Halved(nn.BatchNorm2d):
    """Arithmetic of its own."""

    def forward(self, x):
        return super().forward(x) / 2


def with_activations(layer):
    torch.manual_seed(0)
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    first = nn.Sequential(nn.Conv2d(3, 8, 3), layer(8), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    return trained(nn.Sequential(*first, *pooled))


@pytest.mark.parametrize("training", [True, False])
def test_what_a_subclass_does_after_normalizing_stays(training):
    model = with_activations(lambda channels: NormAct(channels, drop=0.3)).double().train(training)
    swapped = swap_norm(model, "bn", example_input=IMAGES.double())
    for a, b in zip(outputs_and_gradients(model), outputs_and_gradients(swapped), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    with_ln = swap_norm(model, "ln", example_input=IMAGES.double())
    assert [type(module) for module in with_ln[1]] == [norm_class("ln"), nn.Dropout, nn.SiLU]
    assert with_ln[1].training == with_ln[1].drop.training == training
    assert sum(isinstance(module, nn.SiLU) for module in with_ln.modules()) == 1
    assert not any(isinstance(module, nn.BatchNorm2d) for module in with_ln.modules())


def test_a_subclass_with_arithmetic_of_its_own_is_refused_by_name():
    told = r"layer 1: its class Halved does more than normalizing \(it holds no modules\)"
    with pytest.raises(BadInput, match=told):
        swap_norm(with_activations(Halved), "gn", example_input=IMAGES)


class Named(NormAct):
    """Calls its activation ``norm``."""

    def __init__(self, channels):
        nn.BatchNorm2d.__init__(self, channels)
        self.norm = nn.ReLU()

    def forward(self, x):
        return self.norm(nn.BatchNorm2d.forward(self, x))


def test_a_module_called_norm_stays():
    swapped = swap_norm(with_activations(Named), "gn", example_input=IMAGES)
    assert [*dict(swapped[1].named_children())] == ["norm_", "norm"]
    assert isinstance(swapped[1].norm_, norm_class("gn"))


class Residual(nn.BatchNorm2d):
    """Holds a parameter of its own that starts without effect."""

    def __init__(self, channels):
        super().__init__(channels)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return super().forward(x) + self.alpha * x


class Moody(nn.BatchNorm2d):
    """Activates in evaluation mode alone."""

    def forward(self, x):
        z = super().forward(x)
        return z if self.training else z.relu()


class Branching(nn.Module):
    """Calls a layer in training mode alone."""

    def __init__(self, channels):
        super().__init__()
        self.own = Halved(channels)

    def forward(self, x):
        return self.own(x) if self.training else x


@pytest.mark.parametrize(
    ("layer", "training", "told"),
    [
        (Residual, True, "does more than normalizing .*; it holds alpha"),
        (Moody, True, "layer 1: its class Moody does more"),
        (Moody, False, "layer 1: its class Moody does more"),
        (Branching, False, "layer 1.own: example_input never reaches it, and its class Halved may"),
        (lambda n: weight_norm(nn.BatchNorm2d(n), dim=None), True, "layer 1: .* does more"),
    ],
    ids=["parameter", "mode", "the other mode", "not reached", "parametrized"],
)
def test_what_a_subclass_does_and_does_not_show_is_refused(layer, training, told):
    with pytest.raises(BadInput, match=told):
        swap_norm(with_activations(layer).train(training), "gn", example_input=IMAGES)


def test_a_replaced_forward_pass_is_refused():
    model = with_activations(nn.BatchNorm2d)
    forward = model[1].forward
    model[1].forward = lambda x: 2 * forward(x)
    with pytest.raises(BadInput, match="layer 1: its forward pass was replaced"):
        swap_norm(model, "bn", example_input=IMAGES)
