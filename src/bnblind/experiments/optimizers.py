"""Optimizers by name, with the settings that the configuration gives them.

They repeat torch.optim's arithmetic, since using torch.optim loads torch's compiler: 3.5 seconds
per process, more than it takes to train the smaller networks. All parameters lie in one tensor, so
that a step takes a few operations, however many there are.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bnblind.errors import unknown
from bnblind.standardization import square_root

Parameters = Iterable[nn.Parameter]


class Optimizer(ABC):
    """What the training loop needs of an optimizer; ``lr`` is the step size.

    The parameters, of one dtype and each dense in memory, are moved: from now on they are views of
    ``self.values``, and their gradients of ``self.gradients``, which are 0 where the loss does not
    reach.
    """

    def __init__(self, parameters: Parameters, lr: float) -> None:
        self.parameters, self.lr = list(parameters), lr
        flat = [p.detach().flatten() for p in self.parameters]
        self.values = torch.cat(flat) if flat else torch.empty(0)
        self.gradients, start = torch.zeros_like(self.values), 0
        self.views: list[Tensor] = []
        for p in self.parameters:
            place = (p.shape, p.stride(), start)
            p.data = self.values.as_strided(*place).copy_(p.detach())
            p.grad = self.gradients.as_strided(*place)
            self.views.append(p.grad)
            start += p.numel()
        self.memory: dict[str, Tensor] = {}

    def zero_grad(self) -> None:
        self.gradients.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by their gradients; raises RuntimeError if a parameter's ``grad``
        was replaced, as a module's ``zero_grad`` does.
        """
        if any(p.grad is not view for p, view in zip(self.parameters, self.views, strict=True)):
            raise RuntimeError("a parameter's grad was replaced; use the optimizer's zero_grad")
        self.change(self.values, self.gradients, self.memory)

    @abstractmethod
    def change(self, p: Tensor, gradient: Tensor, memory: dict[str, Tensor]) -> None:
        """Take one step; ``memory`` is what earlier steps left, at first empty."""

    def state(self) -> dict[str, Tensor]:
        """What the next steps depend on, besides the parameters."""
        return self.memory

    def load(self, state: dict[str, Tensor]) -> None:
        device = self.values.device
        self.memory = {
            name: value.to(device, copy=True) if value.dim() else value.clone()
            for name, value in state.items()
        }


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

    def change(self, p: Tensor, gradient: Tensor, memory: dict[str, Tensor]) -> None:
        gradient = gradient.add(p, alpha=self.weight_decay)
        if memory:
            memory["velocity"].mul_(self.momentum).add_(gradient)
        else:
            memory["velocity"] = gradient
        p.add_(memory["velocity"], alpha=-self.lr)


class Moments(Optimizer):
    """Optimizers that divide a running mean of the gradient by a running measure of its size. What
    remains of either in a step are the ``betas``; ``eps`` is against division by 0, and
    ``weight_decay`` times the parameters is added to the gradient.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr)
        self.betas, self.eps, self.weight_decay = tuple(betas), eps, weight_decay

    def change(self, p: Tensor, gradient: Tensor, memory: dict[str, Tensor]) -> None:
        beta1, _ = self.betas
        if not memory:
            memory |= {"mean": torch.zeros_like(p), "size": torch.zeros_like(p)}
            memory["steps"] = torch.tensor(0)  # on the processor, where it is read at each step
        if self.weight_decay:
            gradient = gradient.add(p, alpha=self.weight_decay)
        memory["steps"] += 1
        steps = int(memory["steps"])
        mean = memory["mean"].lerp_(gradient, 1 - beta1)
        divisor = self.divisor(gradient, memory["size"], steps)
        p.addcdiv_(mean, divisor, value=-self.lr / (1 - beta1**steps))

    @abstractmethod
    def divisor(self, gradient: Tensor, size: Tensor, steps: int) -> Tensor:
        """What the mean is divided by after so many steps; updates ``size``."""


class Adamax(Moments):
    """Adam with the largest recent gradient in place of its second moment.

    ``m <- m + (1 - beta1) (gradient - m)``, ``u <- max(beta2 u, |gradient| + eps)``,
    ``p <- p - lr / (1 - beta1^t) m / u``, as torch.optim.Adamax.
    Source: Kingma & Ba 2015, arXiv:1412.6980, section 7.1.
    """

    def divisor(self, gradient: Tensor, size: Tensor, steps: int) -> Tensor:
        return torch.maximum(size.mul_(self.betas[1]), gradient.abs().add_(self.eps), out=size)


class Adam(Moments):
    """Steps by the running mean of the gradient over the root of that of its square.

    ``m <- m + (1 - beta1) (gradient - m)``, ``v <- beta2 v + (1 - beta2) gradient^2``,
    ``p <- p - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)``, as torch.optim.Adam but for
    the rounding of the root, which torch.sqrt does not round alike on all processors.
    Source: Kingma & Ba 2015, arXiv:1412.6980.
    """

    def divisor(self, gradient: Tensor, size: Tensor, steps: int) -> Tensor:
        beta2 = self.betas[1]
        square = size.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        return square_root(square / (1 - beta2**steps)).add_(self.eps)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "adam": Adam, "adamax": Adamax}


def build_optimizer(name: str, parameters: Parameters, lr: float, **settings: Any) -> Optimizer:
    """The optimizer ``name`` with its further ``settings``; raises BadInput if unknown."""
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name](parameters, lr=lr, **settings)
