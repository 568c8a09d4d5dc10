"""Layers and networks to probe, and what autograd's own gradients say of them."""

import pytest
import torch
from torch import nn

from bnblind import BlindnessProbe
from tests.helpers.cases import normal

SHAPES = {nn.BatchNorm1d: (6, 4), nn.BatchNorm2d: (5, 4, 3, 2), nn.BatchNorm3d: (3, 4, 2, 2, 3)}
SHARES = ["mean_share", "scale_share", "passing"]


def initialized(model, seed=1):
    """The model in float64, every parameter random."""
    for i, parameter in enumerate(model.double().parameters()):
        parameter.data = normal(*parameter.shape, seed=seed + i)
    return model


def loss_of(z):
    """A loss whose gradient has a mean, a part along the features, and a rest."""
    return (z.sigmoid() * normal(*z.shape, seed=9)).sum() + z.pow(3).mean() + z.mean()


def expected_row(x, z, weight, eps):
    """From autograd's gradients before and after the layer; |G|^2, mean and passing by channel."""
    G = z.grad if weight is None else z.grad * weight.detach().view(-1, *[1] * (z.dim() - 2))
    G, before, x = (v.detach().transpose(0, 1).flatten(1) for v in (G, x.grad, x))
    n, total = G.shape[1], G.square().sum()
    mean = (n * G.mean(1).square()).sum() / total
    sigma_squared = x.var(1, correction=0) + eps
    passing = (before.square().sum(1) * sigma_squared).sum() / total
    return {
        "mean_share": mean.item(),
        "scale_share": 1 - mean.item() - passing.item(),
        "passing": passing.item(),
        "grad_norm_in": before.norm().item(),
        "grad_norm_out": z.grad.norm().item(),
    }


def probed(layer, x, loss=loss_of):
    """The probe after one backward pass through the layer, its input and its output."""
    x = x.clone().requires_grad_()
    with BlindnessProbe(layer) as probe:
        z = layer(x)
        z.retain_grad()
        loss(z).backward()
    return probe, x, z


def check(row, expected, tolerance=1e-10):
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name


def network():
    """A small net: three named layers, one after the other, and one that is not called."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
            self.unused = nn.BatchNorm1d(7)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.ReLU())
            self.drop = nn.Dropout(0.3)
            self.out = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))

        def forward(self, x):
            return self.out(self.drop(self.body(self.stem(x))))

    torch.manual_seed(0)
    return Net().double()


IMAGES, LABELS = normal(8, 1, 4, 4), torch.arange(8) % 3
