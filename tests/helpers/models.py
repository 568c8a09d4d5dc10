"""Models in three pieces, before, at and after the analysed layer.

The oracle (`tests.helpers.model_oracle`) puts the pieces together without the library.
"""

import torch
from torch import nn

from bnblind import build_norm
from bnblind.norms import norm_names
from tests.helpers.cases import C, normal
from tests.helpers.norms import FOR_VECTORS

N = 6
VECTORS, IMAGES = (N, 5), (N, 2, 4, 4)


class Model(nn.Module):
    """``after(norm(h) [+ side(h)])`` with ``h = before(x)``."""

    def __init__(self, before, norm, after, side=None):
        super().__init__()
        self.before, self.norm, self.after, self.side = before, norm, after, side

    def forward(self, x):
        h = self.before(x)
        z = self.norm(h)
        if self.side is not None:
            z = z + self.side(h)
        return self.after(z)


class Function(nn.Module):
    """A function without a module of its own."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def drawn(module, seed=0):
    """Every parameter and running statistic a number of its own."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    for parameter in module.parameters():
        parameter.data = 0.5 * torch.randn(
            parameter.shape, generator=generator, dtype=torch.float64
        )
    for name, buffer in module.named_buffers():
        if "running_mean" in name:
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
        if "running_var" in name:
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module


def vectors(norm, activation=nn.ReLU, side=None, features=6, seed=0, after=None):
    if after is None:
        after = [activation(), nn.Linear(features, 5), activation(), nn.Linear(5, C)]
    return drawn(Model(nn.Linear(5, features), norm, nn.Sequential(*after), side), seed)


def images(norm, activation=nn.ReLU, side=None, seed=0):
    after = [activation(), nn.Conv2d(4, 3, 3), activation(), nn.AvgPool2d(2), nn.Flatten()]
    return drawn(
        Model(nn.Conv2d(2, 4, 3, padding=1), norm, nn.Sequential(*after, nn.Linear(3, C)), side),
        seed,
    )


def chain():
    parts = [nn.Linear(5, 6)]
    for _ in range(3):
        parts += [nn.BatchNorm1d(6), nn.LeakyReLU(), nn.Linear(6, 6)]
    return drawn(nn.Sequential(*parts, nn.Linear(6, C)))


def two_norms(second=None):
    second = nn.BatchNorm1d(5) if second is None else second
    after = [nn.LeakyReLU(), nn.Linear(6, 5), second, nn.LeakyReLU(), nn.Linear(5, C)]
    return vectors(nn.BatchNorm1d(6), after=after)


def data(shape, seed=20):
    return normal(*shape, seed=seed) + 0.5, torch.arange(shape[0]) % C


LAYERS = {
    "BatchNorm1d": (vectors, lambda: nn.BatchNorm1d(6)),
    "BatchNorm1d_eps": (vectors, lambda: nn.BatchNorm1d(6, eps=1e-2)),
    "BatchNorm1d_eps0": (vectors, lambda: nn.BatchNorm1d(6, eps=0.0)),
    "BatchNorm1d_plain": (vectors, lambda: nn.BatchNorm1d(6, affine=False)),
    "BatchNorm2d": (images, lambda: nn.BatchNorm2d(4)),
    "LayerNorm": (vectors, lambda: nn.LayerNorm(6)),
    "LayerNorm_plain": (vectors, lambda: nn.LayerNorm(6, elementwise_affine=False)),
    "LayerNorm_images": (images, lambda: nn.LayerNorm((4, 4, 4))),
    "LayerNorm_without_bias": (vectors, lambda: nn.LayerNorm(6, bias=False)),
    "RMSNorm": (vectors, lambda: nn.RMSNorm(6)),
    "GroupNorm": (vectors, lambda: nn.GroupNorm(2, 6)),
    "GroupNorm_images": (images, lambda: nn.GroupNorm(2, 4)),
    "InstanceNorm2d": (images, lambda: nn.InstanceNorm2d(4)),
    "InstanceNorm2d_affine": (images, lambda: nn.InstanceNorm2d(4, affine=True)),
    **{name: (vectors, lambda name=name: build_norm(name, (6,))) for name in FOR_VECTORS},
    **{
        f"{name}_images": (images, lambda name=name: build_norm(name, (4, 4, 4)))
        for name in norm_names()
    },
}


def built(name, activation, **options):
    make, layer = LAYERS[name]
    x, target = data(VECTORS if make is vectors else IMAGES)
    return make(layer(), activation, **options), x, target
