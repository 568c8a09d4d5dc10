"""The table of cases: heads, losses, labels, expansion points, eps, batch sizes, shapes.

A head includes the layer's affine phase, with weights and biases that put no unit on a kink at
the expansion points of the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnblind import standardize

C = 4
"""Outputs of every head."""
VECTOR, IMAGE = (9,), (3, 4, 4)


def normal(*size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


class Affine(nn.Module):
    """The layer's affine phase: weight and bias by channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels).uniform_(0.5, 1.5))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-1, 1))

    def forward(self, y: Tensor) -> Tensor:
        shape = (-1, *[1] * (y.dim() - 2))
        return self.weight.view(shape) * y + self.bias.view(shape)


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Mixed(nn.Module):
    """ReLU with a little of a smooth function: hardly curved, but curved."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x) + self.share * F.gelu(x)


def fully_connected(activation: Callable[[], nn.Module]) -> list[nn.Module]:
    return [Affine(9), nn.Linear(9, 12), activation(), nn.Linear(12, C)]


def convolutional(activation: Callable[[], nn.Module], pool: nn.Module) -> list[nn.Module]:
    body = [nn.Conv2d(3, 5, 3, padding=1), activation(), pool, nn.Flatten(), nn.Linear(20, C)]
    return [Affine(3), *body]


def images_with_skip(activation: Callable[[], nn.Module]) -> list[nn.Module]:
    body = nn.Sequential(activation(), nn.Conv2d(3, 3, 3, padding=1), activation())
    return [Affine(3), Residual(body), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, C)]


def calibrated_batch_norm() -> nn.BatchNorm1d:
    """In evaluation mode, with statistics that are not 0 and 1."""
    layer = nn.BatchNorm1d(12).eval()
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    return layer


@dataclass(frozen=True)
class HeadKind:
    """``layers`` draws the weights; ``piecewise`` says that all its pieces are linear."""

    layers: Callable[[], list[nn.Module]]
    piecewise: bool
    shape: tuple[int, ...] = VECTOR

    def build(self, seed: int = 0) -> nn.Sequential:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(*self.layers()).double()


def leaky() -> nn.Module:
    return nn.LeakyReLU(0.1)


HEADS = {
    "linear": HeadKind(lambda: [Affine(9), nn.Linear(9, C)], True),
    "relu": HeadKind(lambda: fully_connected(nn.ReLU), True),
    "relu_inplace": HeadKind(lambda: fully_connected(lambda: nn.ReLU(inplace=True)), True),
    "leaky_relu": HeadKind(lambda: fully_connected(leaky), True),
    "gelu": HeadKind(lambda: fully_connected(nn.GELU), False),
    "tanh": HeadKind(lambda: fully_connected(nn.Tanh), False),
    "silu": HeadKind(lambda: fully_connected(nn.SiLU), False),
    "hardly_curved": HeadKind(lambda: fully_connected(lambda: Mixed(1e-6)), False),
    # The loss's own log-softmax takes nothing away: along its slopes the head stays linear.
    "log_softmax": HeadKind(lambda: [*fully_connected(nn.ReLU), nn.LogSoftmax(1)], True),
    "residual": HeadKind(
        lambda: [
            Affine(9),
            Residual(nn.Sequential(nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 9))),
            nn.Linear(9, C),
        ],
        True,
    ),
    "eval_batch_norm": HeadKind(
        lambda: [
            *fully_connected(nn.ReLU)[:2],
            calibrated_batch_norm(),
            nn.ReLU(),
            nn.Linear(12, C),
        ],
        True,
    ),
    "layer_norm": HeadKind(
        lambda: [*fully_connected(nn.ReLU)[:3], nn.LayerNorm(12), nn.Linear(12, C)], False
    ),
    "conv_max_pool": HeadKind(lambda: convolutional(nn.ReLU, nn.MaxPool2d(2)), True, IMAGE),
    "conv_avg_pool": HeadKind(lambda: convolutional(leaky, nn.AvgPool2d(2)), True, IMAGE),
    "conv_gelu": HeadKind(lambda: convolutional(nn.GELU, nn.AvgPool2d(2)), False, IMAGE),
    "conv_residual": HeadKind(lambda: images_with_skip(nn.ReLU), True, IMAGE),
    "conv_residual_silu": HeadKind(lambda: images_with_skip(nn.SiLU), False, IMAGE),
}
# Features that are constant within a channel tie a max-pool.
KINKED_AT_ZERO = {"conv_max_pool"}


def log_cosh(z: Tensor, target: Tensor) -> Tensor:
    """Its curvature depends on the target."""
    gap = z - target
    return (F.softplus(2 * gap) - gap).sum(1)


def soft_cross_entropy(z: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(z, target.softmax(1), reduction="none")


def linear_in_outputs(z: Tensor, target: Tensor) -> Tensor:
    """No curvature at all."""
    return (z * target).sum(1)


CALLABLES = {f.__name__: f for f in (log_cosh, soft_cross_entropy, linear_in_outputs)}
LOSSES = ("cross_entropy", "mse", "gaussian_nll", *CALLABLES)
POINTS = ("zero", "mean", "random")


@dataclass(frozen=True)
class Case:
    head: str
    loss: str = "cross_entropy"
    labels: str = "mixed"
    point: str = "mean"
    eps: float = 1e-5
    n: int = 8
    saturated: bool = False

    def __str__(self) -> str:
        saturated = "-saturated" if self.saturated else ""
        start = f"{self.head}{saturated}-{self.loss}-{self.labels}-y0_{self.point}"
        return f"{start}-eps{self.eps:g}-n{self.n}"

    @property
    def kind(self) -> HeadKind:
        return HEADS[self.head]

    @property
    def loss_function(self) -> str | Callable[[Tensor, Tensor], Tensor]:
        return CALLABLES.get(self.loss, self.loss)

    def features(self) -> Tensor:
        """(n, *S) before the layer: channels of different mean and scale."""
        channels = (1, self.kind.shape[0], *[1] * (len(self.kind.shape) - 1))
        scale = torch.exp(0.5 * normal(*channels, seed=1))
        return scale * (normal(self.n, *self.kind.shape, seed=2) + 2 * normal(*channels, seed=3))

    def target(self) -> Tensor:
        if self.loss == "cross_entropy":
            own = torch.arange(self.n) % C
        else:
            own = normal(self.n, C, seed=4)
        return own if self.labels == "mixed" else own[1:2].repeat(self.n, *[1] * (own.dim() - 1))

    def y0(self, y: Tensor) -> Tensor:
        if self.point == "random":
            return 0.5 * normal(*self.kind.shape, seed=5)
        if self.point == "zero" or y.dim() == 2:
            return torch.zeros_like(y[0])
        return y.mean(0)

    def build(self) -> "Built":
        return _built(self)


@dataclass(frozen=True)
class Built:
    head: nn.Module
    x: Tensor
    y: Tensor
    sigma: Tensor
    y0: Tensor
    target: Tensor


@cache
def _built(case: Case) -> Built:
    x, target = case.features(), case.target()
    y, sigma = standardize(x, case.eps)
    y0, head = case.y0(y), case.kind.build()
    if case.saturated:
        train(head, torch.cat([y, y0[None]]), target[0])
    return Built(head, x, y, sigma, y0, target)


def train(head: nn.Module, y: Tensor, label: Tensor) -> None:
    """Until ``1 - p < 1e-8`` for the one label, for every row."""
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    labels = label.expand(len(y))
    for _ in range(2000):
        z = head(y)
        if 1 - p_of(z, labels).min() < 1e-8:
            break
        optimizer.zero_grad()
        # The logarithm of the loss: its slope does not die with the loss.
        F.cross_entropy(z, labels).log().backward()
        optimizer.step()
    head.zero_grad(set_to_none=True)


def p_of(z: Tensor, labels: Tensor) -> Tensor:
    return z.detach().softmax(1).gather(1, labels[:, None])


def _table() -> list[Case]:
    """Every head at every point; labels, eps, n and the loss go round in different steps."""
    labels, eps, sizes = ("pure", "mixed"), (0.0, 1e-5, 1e-2), (2, 7, 31, 128)
    cases = []
    for head in HEADS:
        for point in POINTS:
            i = len(cases)
            if point == "zero" and head in KINKED_AT_ZERO:
                continue
            n = sizes[i // 2 % 4]
            cases.append(Case(head, LOSSES[i % 5], labels[i // 3 % 2], point, eps[i // 2 % 3], n))
    # Those that the rounds above may miss.
    cases += [Case(head, "cross_entropy", "mixed") for head in HEADS]
    cases += [Case(head, loss) for head in ("relu", "tanh") for loss in LOSSES]
    cases += [Case("relu", n=n, labels=own) for n in (2, 128) for own in labels]
    cases += [Case("gelu", n=n, labels=own) for n in (2, 128) for own in labels]
    cases += [
        Case(head, labels="pure", point=point, saturated=True)
        for head in ("linear", "relu", "gelu", "conv_avg_pool", "conv_gelu")
        for point in ("mean", "random")
    ]
    return list(dict.fromkeys(cases))


CASES = _table()

# What the refusal of a head says that shows by its outputs, not by its layers, that it couples
# samples; and of one that is random without a layer to name.
OTHER_OUTPUTS = "the same features gave other outputs in another batch"
DRAWN = "the head draws random numbers"

# For heads that are written as functions.
W, OUT = normal(9, 7, seed=11), normal(7, C, seed=12)
Y, T = normal(6, 9), torch.arange(6) % C


def linear(v: Tensor) -> Tensor:
    return v @ normal(9, C)
