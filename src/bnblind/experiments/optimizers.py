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
from bnblind.experiments.runs import by_part
from bnblind.standardization import square_root

Parameters = Iterable[nn.Parameter]


class Optimizer(ABC):
    """What the training loop needs of an optimizer.

    Args:
        parameters: to be trained.
        lr: step size.
    """

    def __init__(self, parameters: Parameters, lr: float) -> None:
        self.parameters, self.lr = list(parameters), lr
        self.memories: list[dict[str, Tensor]] = [{} for _ in self.parameters]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by their gradients; one that has none stays as it is."""
        for parameter, memory in zip(self.parameters, self.memories, strict=True):
            if parameter.grad is not None:
                self.change(parameter, parameter.grad, memory)

    @abstractmethod
    def change(self, p: nn.Parameter, gradient: Tensor, memory: dict[str, Tensor]) -> None:
        """Take one step; ``memory`` is what the parameter's earlier steps left, at first empty."""

    def state(self) -> dict[str, Tensor]:
        """What the next steps depend on, ``POSITION/NAME``, by the parameters' positions."""
        memories = enumerate(self.memories)
        return {f"{i}/{name}": v for i, memory in memories for name, v in memory.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over another optimizer's :meth:`state`."""
        for position, memory in by_part(state).items():
            self.memories[int(position)] = {name: v.clone() for name, v in memory.items()}


class SGD(Optimizer):
    """Stochastic gradient descent with heavy-ball momentum and L2 weight decay.

    ``v <- momentum * v + (gradient + weight_decay * p)``, ``p <- p - lr * v``, v starting at
    the first step's gradient, as torch.optim.SGD without dampening.
    """

    def __init__(
        self, parameters: Parameters, lr: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr)
        self.momentum, self.weight_decay = momentum, weight_decay

    def change(self, p: nn.Parameter, gradient: Tensor, memory: dict[str, Tensor]) -> None:
        gradient = gradient.add(p, alpha=self.weight_decay)
        if memory:
            memory["velocity"].mul_(self.momentum).add_(gradient)
        else:
            memory["velocity"] = gradient
        p.add_(memory["velocity"], alpha=-self.lr)


class Adamax(Optimizer):
    """Adam with the largest recent gradient in place of its second moment.

    ``m <- m + (1 - beta1) (gradient - m)``, ``u <- max(beta2 u, |gradient| + eps)``,
    ``p <- p - lr / (1 - beta1^t) m / u``, as torch.optim.Adamax.
    Source: Kingma & Ba 2015, arXiv:1412.6980, section 7.1.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, lr)
        self.betas, self.eps = tuple(betas), eps

    def change(self, p: nn.Parameter, gradient: Tensor, memory: dict[str, Tensor]) -> None:
        beta1, beta2 = self.betas
        if not memory:
            memory |= {"mean": torch.zeros_like(p), "largest": torch.zeros_like(p)}
            memory["steps"] = torch.tensor(0)
        memory["steps"] += 1
        mean, largest = memory["mean"].lerp_(gradient, 1 - beta1), memory["largest"]
        torch.maximum(largest.mul_(beta2), gradient.abs().add_(self.eps), out=largest)
        p.addcdiv_(mean, largest, value=-self.lr / (1 - beta1 ** int(memory["steps"])))


class Adam(Optimizer):
    """Steps by the running mean of the gradient over the root of that of its square.

    ``m <- m + (1 - beta1) (gradient - m)``, ``v <- beta2 v + (1 - beta2) gradient^2``,
    ``p <- p - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)``, as torch.optim.Adam but for
    the rounding of the root, which torch.sqrt does not round alike on all processors.
    Source: Kingma & Ba 2015, arXiv:1412.6980.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, lr)
        self.betas, self.eps = tuple(betas), eps

    def change(self, p: nn.Parameter, gradient: Tensor, memory: dict[str, Tensor]) -> None:
        beta1, beta2 = self.betas
        if not memory:
            memory |= {"mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
            memory["steps"] = torch.tensor(0)
        memory["steps"] += 1
        steps = int(memory["steps"])
        mean = memory["mean"].lerp_(gradient, 1 - beta1)
        square = memory["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = square_root(square / (1 - beta2**steps)).add_(self.eps)
        p.addcdiv_(mean, root, value=-self.lr / (1 - beta1**steps))


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "adam": Adam, "adamax": Adamax}


def build_optimizer(name: str, parameters: Parameters, lr: float, **settings: Any) -> Optimizer:
    """The optimizer ``name`` with its further ``settings``; raises BadInput if unknown."""
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name](parameters, lr=lr, **settings)
