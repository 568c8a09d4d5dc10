"""Batch-norm calls in the autograd graph: where they are, and what reaches and leaves them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf, nan, sqrt
from typing import Any

import torch
from torch import Tensor

from bnblind.errors import BadInput
from bnblind.shares import Blocked, blocked
from bnblind.standardization import per_channel, pooled_axes

# The autograd nodes of torch.batch_norm: on the CPU and in evaluation mode, by cuDNN, by MIOpen.
_BATCH_NORMS = ("NativeBatchNormBackward0", "CudnnBatchNormBackward0", "MiopenBatchNormBackward0")
# Nodes behind which the probe sees no batch norm, or only a process's part of its statistics.
_OPAQUE = {
    "SyncBatchNormBackward": "batch norm synchronized over several processes; run one process",
    "CheckpointFunctionBackward": "activation checkpointing; switch it off",
    "CompiledFunctionBackward": "torch.compile; use the model before it was compiled",
}
_HALF = (torch.float16, torch.bfloat16)

Node = Any
"""A node of the autograd graph; the saved tensors of torch's own nodes are not in its type."""


def _graph(roots: Iterable[Node]) -> Iterator[Node]:
    """Every node of the autograd graph behind the roots, each once."""
    pending, seen = list(roots), set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        pending.extend(following for following, _ in node.next_functions)


def _is_checkpointed(node: Node) -> bool:
    """Whether reading the node's saved tensors would run a part of the model again."""
    unpack = node._raw_saved_input.unpack_hook
    return unpack is not None and unpack.__module__ == "torch.utils.checkpoint"


def batch_norm_calls(roots: Iterable[Node]) -> list[Node]:
    """The batch-norm nodes behind the roots, in the order of the forward pass; raises BadInput if
    the graph hides batch norms, or holds one of several processes.
    """
    found = []
    for node in _graph(roots):
        hidden = _OPAQUE.get(node.name())
        if node.name() in _BATCH_NORMS:
            found.append(node)
            hidden = _OPAQUE["CheckpointFunctionBackward"] if _is_checkpointed(node) else None
        if hidden:
            raise BadInput(f"BlindnessProbe cannot look into this backward pass: found {hidden}")
    return sorted(found, key=lambda node: node._sequence_nr())


@dataclass
class Reading:
    """A layer's calls so far; energies are squared Frobenius norms, summed over the calls.

    ``blocked_by_mean``, ``blocked_by_scale`` and ``passing`` add to ``total``, the energy of the
    gradient with respect to the standardized features. ``channels`` and ``pooled`` are those of
    the last call.
    """

    channels: int = 0
    pooled: int | None = None
    blocked_by_mean: float = 0.0
    blocked_by_scale: float = 0.0
    passing: float = 0.0
    total: float = 0.0
    energy_in: float = 0.0
    energy_out: float = 0.0
    backward_calls: int = 0

    def add(self, call: "Reading") -> None:
        self.channels, self.pooled = call.channels, call.pooled
        for name in _ENERGIES:
            setattr(self, name, getattr(self, name) + getattr(call, name))

    def share(self, energy: float) -> float:
        return energy / self.total if self.total != 0 else nan

    def norm(self, energy: float) -> float:
        """Root mean square over the backward calls."""
        return sqrt(energy / self.backward_calls) if self.backward_calls else nan


_ENERGIES = ("blocked_by_mean", "blocked_by_scale", "passing", "total", "energy_in", "energy_out")


def _eps(node: Node) -> float:
    return node._saved_eps if hasattr(node, "_saved_eps") else node._saved_epsilon  # cuDNN's name


def _moments(node: Node) -> tuple[Tensor, Tensor]:
    """Mean and 1 / sqrt(var + eps) of each channel (C,) that the call standardized with."""
    if not node._saved_training:
        return node._saved_running_mean, (node._saved_running_var + _eps(node)).rsqrt()
    if node._saved_result1.dtype not in _HALF:
        return node._saved_result1, node._saved_result2
    # Saved in the layer's own half precision: too coarse to standardize with.
    x = node._saved_input.float()
    var, mean = torch.var_mean(x, dim=pooled_axes(x), correction=0)
    return mean, (var + _eps(node)).rsqrt()


def _weight(node: Node, like: Tensor) -> Tensor:
    """The weight of the affine phase (C,); 1 where there is none."""
    weight = node._saved_weight
    return like.new_ones(like.shape[1]) if weight is None else weight.to(like.dtype)


def _energy(v: Tensor) -> Tensor:
    """Squared norm of each channel of (n, C, *spatial): (C,) float64."""
    # In two steps, several times as fast as over all axes at once.
    samples = torch.linalg.vector_norm(v.reshape(*v.shape[:2], -1), dim=2)
    return samples.double().square().sum(0)


def _unit(gradient: Tensor) -> float:
    """What to divide by so that squares stay within floating point; 1 where they do anyway."""
    if 1e-10 < torch.linalg.vector_norm(gradient).item() < 1e10:
        return 1.0
    largest = gradient.abs().max().item()
    return largest if 0 < largest < inf else 1.0


def _from_gradients(node: Node, gradients: tuple[Tensor, ...], gradient: Tensor) -> Blocked:
    """T4's shares from what the backward pass has computed anyway, so that few passes are needed.

    For weight 1, the gradients of weight and bias are ``sum(y G)`` and ``sum(G)``.

    Args:
        gradients: of the loss with respect to the call's input, weight and bias.
        gradient: with respect to its output.
    """
    n = gradient.numel() // gradient.shape[1]
    weight, to_weight, to_bias, inverse_scale = (
        v.double() for v in (node._saved_weight, *gradients[1:], node._saved_result2)
    )
    total = weight.square() * _energy(gradient)
    y_squared = n * (1 - _eps(node) * inverse_scale.square())
    mean = (weight * to_bias).square() / n
    scale = (weight * to_weight / n).square() * (2 * n - y_squared)
    passing = _energy(gradients[0]) / inverse_scale.square()
    return Blocked(mean / total, scale / total, passing / total, total)


def _from_features(node: Node, gradient: Tensor) -> Blocked:
    """T4's shares from the standardized features themselves."""
    x, (mean, inverse_scale) = node._saved_input.to(gradient.dtype), _moments(node)
    y = (x - per_channel(mean, x)) * per_channel(inverse_scale, x)
    return blocked(per_channel(_weight(node, gradient), x) * gradient, y)


def _nothing_blocked(node: Node, gradient: Tensor) -> Blocked:
    """Evaluation mode: standardized with constants."""
    total = _weight(node, gradient).double().square() * _energy(gradient)
    zero = torch.zeros_like(total)
    return Blocked(zero, zero, zero + 1, total)


def read(node: Node, gradients: tuple[Tensor | None, ...], gradient: Tensor) -> Reading:
    """Split the gradient that has arrived at a batch-norm call (T4 in docs/theory.md).

    Args:
        gradients: with respect to the call's input, weight and bias; None where autograd had
            no need of them.
        gradient: with respect to its output.
    """
    training, half = bool(node._saved_training), gradient.dtype in _HALF
    gradient = gradient.float() if half else gradient
    unit = _unit(gradient)
    gradient = gradient if unit == 1 else gradient / unit
    computed = tuple(g for g in gradients if g is not None)
    if not training:
        shares = _nothing_blocked(node, gradient)
    elif len(computed) == 3 and not half and unit == 1:
        shares = _from_gradients(node, computed, gradient)
    else:
        shares = _from_features(node, gradient)
    layer, passed = shares.layer(), shares.passing * shares.total
    energy_in = torch.where(shares.total == 0, 0, passed) * _moments(node)[1].square()
    total = layer.total.item()
    mean, scale, passing = (
        share.item() * total if total != 0 else 0.0
        for share in (layer.mean, layer.scale, layer.passing)
    )
    return Reading(
        channels=gradient.shape[1],
        pooled=gradient.numel() // gradient.shape[1] if training else 0,
        blocked_by_mean=mean * unit**2,
        blocked_by_scale=scale * unit**2,
        passing=passing * unit**2,
        total=total * unit**2,
        energy_in=energy_in.sum().item() * unit**2,
        energy_out=_energy(gradient).sum().item() * unit**2,
    )
