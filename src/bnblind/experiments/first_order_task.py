"""A toy task whose only signal is first-order: what T1 means for training.

Inputs a in R^K come in label-pure batches, classes in cyclic order. A linear layer makes features
x = W a, a norm follows, and the loss of a batch of class c is linear in what the norm gives,

    L = -(1/n) sum_i u_c . norm(W a_i),

with one direction u_c for all of the batch's samples. There is no Hessian and no remainder: W
learns from the first-order term or not at all. T1 says that a norm which subtracts the batch mean
blocks it for every W, u_c and batch, so that W stays where it was. W alone is trained, by
plain gradient descent; the norm's affine phase is fixed at random values, since its bias would
learn u_c even if nothing reaches W. Source: T1 in docs/theory.md; arXiv:2205.15146, first-order
term.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bnblind.experiments.randomness import stream
from bnblind.norms import Norm, build_norm, freeze_statistics, norm_class

POSITIONS = 8


@dataclass(frozen=True)
class LinearSignal:
    """Sizes of the task. ``features`` is a multiple of 8: ``in`` sees them as channels of 8
    positions. ``lr``: step size of gradient descent.
    """

    classes: int
    inputs: int
    features: int
    batch_size: int
    steps: int
    lr: float


@dataclass(frozen=True)
class Draw:
    """What a seed fixes, the same for every norm; float64.

    Attributes:
        means: (C, K) of the classes' inputs, whose noise is standard normal.
        directions: (C, D) unit vectors u_c.
        weights: (D, K) of the linear layer, before training.
        scale, shift: (D,) the affine phase; scale within 0.5 and 1.5.
    """

    means: Tensor
    directions: Tensor
    weights: Tensor
    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, task: LinearSignal, seed: int) -> "Draw":
        generator = stream(seed, "linear_signal", "task")

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        directions = normal(task.classes, task.features)
        return cls(
            means=normal(task.classes, task.inputs),
            directions=directions / directions.norm(dim=1, keepdim=True),
            weights=normal(task.features, task.inputs) / task.inputs**0.5,
            scale=0.5 + torch.rand(task.features, generator=generator, dtype=torch.float64),
            shift=normal(task.features),
        )

    def batches(self, task: LinearSignal, seed: int) -> Iterator[tuple[int, Tensor]]:
        """Class and inputs (n, K) of every step."""
        generator = stream(seed, "linear_signal", "batches")
        for step in range(task.steps):
            label = step % task.classes
            noise = torch.randn(
                task.batch_size, task.inputs, generator=generator, dtype=torch.float64
            )
            yield label, self.means[label] + noise


def layer_of(norm: str, draw: Draw, x: Tensor) -> Norm:
    """The norm in training mode with the drawn affine phase, outside the graph; ``bn_frozen`` takes
    the statistics of the features ``x`` (n, D).
    """
    dim = x.shape[1]
    shape = (dim // POSITIONS, POSITIONS) if norm_class(norm).needs_positions else (dim,)
    layer = build_norm(norm, shape).double().train().requires_grad_(False)
    for name, values in (("weight", draw.scale), ("bias", draw.shift)):
        parameter = getattr(layer, name, None)
        if parameter is not None:
            parameter.copy_(values[: parameter.numel()].view_as(parameter))
    freeze_statistics(layer, x.unflatten(1, shape))
    return layer


def loss_of(layer: Norm, weights: Tensor, inputs: Tensor, direction: Tensor) -> Tensor:
    """The batch's loss: linear in the normalized features, the same for all samples."""
    x = (inputs @ weights.T).unflatten(1, layer.shape)
    return -(layer(x).flatten(1) @ direction).mean()


def train_first_order_task(norm: str, task: LinearSignal, seed: int) -> Iterator[Mapping[str, Any]]:
    """Train W under ``norm``; one row per step, before the step is taken: ``step``; ``label`` of
    its batch; ``loss`` of it; ``gradient``, |dL/dW|; ``displacement``, |W - W at the start| / |W at
    the start|. Frobenius norms.
    """
    draw = Draw.of(task, seed)
    weights = draw.weights.clone().requires_grad_()
    layer = layer_of(norm, draw, draw.means @ draw.weights.T)
    for step, (label, inputs) in enumerate(draw.batches(task, seed)):
        loss = loss_of(layer, weights, inputs, draw.directions[label])
        (gradient,) = torch.autograd.grad(loss, weights)
        moved = (weights.detach() - draw.weights).norm() / draw.weights.norm()
        yield {
            "step": step,
            "label": label,
            "loss": loss.item(),
            "gradient": gradient.norm().item(),
            "displacement": moved.item(),
        }
        with torch.no_grad():
            weights -= task.lr * gradient
