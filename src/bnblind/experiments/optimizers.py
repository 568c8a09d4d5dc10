"""Optimizers by name, with the settings that the configuration gives them.

They repeat torch.optim's arithmetic, bit for bit, because using torch.optim loads torch's
compiler: 3.5 seconds a process, more than it takes to train the smaller networks.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

from bnblind.errors import unknown


class Optimizer(Protocol):
    """What the training loop needs of an optimizer."""

    def zero_grad(self) -> None: ...

    def step(self) -> None: ...

    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: dict[str, Tensor]) -> None: ...


class SGD:
    """Stochastic gradient descent with heavy-ball momentum and L2 weight decay.

    ``v <- momentum * v + (gradient + weight_decay * p)``, ``p <- p - lr * v``, v starting at
    the first step's gradient, as torch.optim.SGD without dampening.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocities: dict[int, Tensor] = {}

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for i, p in enumerate(self.parameters):
            if p.grad is None:
                continue
            gradient = p.grad.add(p, alpha=self.weight_decay)
            if i in self.velocities:
                self.velocities[i].mul_(self.momentum).add_(gradient)
            else:
                self.velocities[i] = gradient
            p.add_(self.velocities[i], alpha=-self.lr)

    def state(self) -> dict[str, Tensor]:
        """The velocities, by the parameters' positions."""
        return {str(i): velocity for i, velocity in self.velocities.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over another optimizer's :meth:`state`."""
        self.velocities = {int(i): velocity.clone() for i, velocity in state.items()}


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD}


def build_optimizer(
    name: str, parameters: Iterable[nn.Parameter], lr: float, **settings: float
) -> Optimizer:
    """The optimizer ``name``; ``settings`` are its further keyword arguments.

    Raises:
        BadInput: unknown optimizer.
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name](parameters, lr=lr, **settings)
