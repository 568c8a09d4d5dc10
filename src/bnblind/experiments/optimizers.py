"""Optimizers by name, with the settings that the configuration gives them.

They repeat torch.optim's arithmetic, bit for bit, because using torch.optim loads torch's
compiler: 3.5 seconds per process, more than it takes to train the smaller networks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bnblind.errors import unknown


class Optimizer(ABC):
    """What the training loop needs of an optimizer."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @abstractmethod
    def step(self) -> None:
        """Change the parameters by their gradients."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What the next steps depend on, by the parameters' positions."""

    @abstractmethod
    def load(self, state: dict[str, Tensor]) -> None:
        """Take over another optimizer's :meth:`state`."""


class SGD(Optimizer):
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
        super().__init__(parameters)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocities: dict[int, Tensor] = {}

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


class Adamax(Optimizer):
    """Adam with the largest recent gradient in place of its second moment.

    ``m <- m + (1 - beta1) (gradient - m)``, ``u <- max(beta2 u, |gradient| + eps)``,
    ``p <- p - lr / (1 - beta1^t) m / u``, as torch.optim.Adamax.
    Source: Kingma & Ba 2015, arXiv:1412.6980, section 7.1.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters)
        self.lr, self.betas, self.eps = lr, tuple(betas), eps
        self.moments: dict[int, tuple[Tensor, Tensor]] = {}
        self.steps: dict[int, int] = {}

    @torch.no_grad()
    def step(self) -> None:
        beta1, beta2 = self.betas
        for i, p in enumerate(self.parameters):
            if p.grad is None:
                continue
            if i not in self.moments:
                self.moments[i], self.steps[i] = (torch.zeros_like(p), torch.zeros_like(p)), 0
            self.steps[i] += 1
            mean, largest = self.moments[i]
            mean.lerp_(p.grad, 1 - beta1)
            torch.maximum(largest.mul_(beta2), p.grad.abs().add_(self.eps), out=largest)
            rate = self.lr / (1 - beta1 ** self.steps[i])
            p.addcdiv_(mean, largest, value=-rate)

    def state(self) -> dict[str, Tensor]:
        """Means, largest gradients and numbers of steps, by the parameters' positions."""
        tensors: dict[str, Tensor] = {}
        for i, (mean, largest) in self.moments.items():
            tensors |= {f"{i}/mean": mean, f"{i}/largest": largest}
            tensors[f"{i}/steps"] = torch.tensor(self.steps[i])
        return tensors

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over another optimizer's :meth:`state`."""
        positions = [name.removesuffix("/mean") for name in state if name.endswith("/mean")]
        self.moments = {
            int(i): (state[f"{i}/mean"].clone(), state[f"{i}/largest"].clone()) for i in positions
        }
        self.steps = {int(i): int(state[f"{i}/steps"]) for i in positions}


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "adamax": Adamax}


def build_optimizer(
    name: str, parameters: Iterable[nn.Parameter], lr: float, **settings: Any
) -> Optimizer:
    """The optimizer ``name``; ``settings`` are its further keyword arguments.

    Raises:
        BadInput: unknown optimizer.
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name](parameters, lr=lr, **settings)
