"""Batch-norm calls in the autograd graph: where they are, and what reaches and leaves them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import torch
from torch import Tensor

from bnblind.errors import BadInput
from bnblind.shares import blocked
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


def _nodes(roots: Iterable[Node]) -> Iterator[Node]:
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


@dataclass(frozen=True)
class Graph:
    """What lies behind the roots: the batch-norm nodes in the order of the forward pass, and the
    identities of the leaves whose gradients are asked for.
    """

    calls: list[Node]
    leaves: set[int]


def graph_behind(roots: Iterable[Node]) -> Graph:
    """Raises BadInput if the graph hides batch norms, or holds one of several processes."""
    found, leaves = [], set()
    for node in _nodes(roots):
        name = node.name()
        if name == "torch::autograd::AccumulateGrad":
            leaves.add(id(node.variable))
        hidden = _OPAQUE.get(name)
        if name in _BATCH_NORMS:
            found.append(node)
            hidden = _OPAQUE["CheckpointFunctionBackward"] if _is_checkpointed(node) else None
        if hidden:
            raise BadInput(f"BlindnessProbe cannot look into this backward pass: found {hidden}")
    return Graph(sorted(found, key=lambda node: node._sequence_nr()), leaves)


ENERGIES = ("blocked_by_mean", "blocked_by_scale", "passing", "total", "energy_in", "energy_out")
"""Squared Frobenius norms: the first three are the parts of the fourth, the energy of the gradient
with respect to the standardized features; the others are of the layer's input and output.
"""


FAINT = 1e-33
"""An energy in float32 below which squares of entries, at 1e-19 each, begin to be lost."""

NEVER_WAITS = frozenset({"cpu"})
"""Devices of which a number can be read without waiting for them."""

SMALL = 1e-4
"""A weight up to which the gradient of the layer's input tells too little of the output's."""


@dataclass(frozen=True)
class Arrived:
    """What is kept of one call until the backward pass has ended.

    Attributes:
        channels: C.
        pooled: how many values a channel's statistics pool; 0 in evaluation mode.
        energies: (7, C) float64, those of ``ENERGIES`` and 0; None: to be made of the rest.
        lengths: (n, C) norms over the positions of the gradient of the input and, where it does not
            follow from the rest, of that of the output.
        vectors: (4, C) weight, its gradient, that of the bias, and 1 / sigma.
        eps: of the layer.
    """

    channels: int
    pooled: int
    energies: Tensor | None = None
    lengths: tuple[Tensor, ...] | None = None
    vectors: Tensor | None = None
    eps: float = 0.0


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


def _lengths(v: Tensor) -> Tensor:
    """(n, C, *spatial) -> (n, C): in two steps, of which this is the first, the norm of a channel
    takes a fraction of the time that it takes over all axes at once.
    """
    return torch.linalg.vector_norm(v.reshape(*v.shape[:2], -1), dim=2)


def _energy(v: Tensor) -> Tensor:
    """Squared norm of each channel of (n, C, *spatial): (C,) float64."""
    return _lengths(v).double().square().sum(0)


def _follows(weight: Tensor) -> bool:
    """Whether the output's gradient follows from the input's, as exactly as the shares do: no
    weight is near 0, as far as is known without waiting. In float64 it is measured all the same.
    """
    quick = weight.dtype == torch.float32 and weight.device.type in NEVER_WAITS
    return quick and weight.abs().amin().item() > SMALL


def arrived(node: Node, gradients: tuple[Tensor | None, ...], gradient: Tensor) -> Arrived:
    """What has to be kept of a call for :func:`energies`.

    Args:
        gradients: with respect to the call's input, weight and bias; None where autograd had no
            need of them.
        gradient: with respect to its output.
    """
    channels, training = gradient.shape[1], bool(node._saved_training)
    pooled, half = gradient.numel() // channels if training else 0, gradient.dtype in _HALF
    gradient = gradient.float() if half else gradient
    computed = [g for g in gradients if g is not None]
    if training and len(computed) == 3 and not half:
        # For weight 1, the gradients of weight and bias are sum(y G) and sum(G).
        vectors = torch.stack([node._saved_weight, *computed[1:], node._saved_result2])
        of_input = _lengths(computed[0])
        lengths = (of_input,) if _follows(vectors[0]) else (of_input, _lengths(gradient))
        return Arrived(channels, pooled, None, lengths, vectors, _eps(node))
    return Arrived(channels, pooled, _of_features(node, gradient))


def _of_features(node: Node, gradient: Tensor) -> Tensor:
    """The energies (7, C) from the features themselves; in evaluation mode, in which constants
    standardize, nothing is blocked.
    """
    mean, inverse_scale = _moments(node)
    weight = _weight(node, gradient)
    # In units of the largest entry: squares may lie beyond floating point.
    unit = gradient.abs().amax().clamp_min(torch.finfo(gradient.dtype).tiny)
    gradient = gradient / unit
    out = _energy(gradient)
    if node._saved_training:
        x = node._saved_input.to(gradient.dtype)
        y = (x - per_channel(mean, x)) * per_channel(inverse_scale, x)
        shares = blocked(per_channel(weight, x) * gradient, y)
        total = shares.total.double()
        parts = torch.stack([shares.mean, shares.scale, shares.passing]).double()
        parts = torch.where(total == 0, 0, parts * total)
    else:
        total = weight.double().square() * out
        parts = torch.stack([torch.zeros_like(total), torch.zeros_like(total), total])
    before = parts[2] * inverse_scale.double().square()
    rest = torch.stack([total, before, out, torch.zeros_like(out)])
    return torch.cat([parts, rest]) * unit.double().square()


def _call_of_channel(calls: Sequence[Arrived], device: torch.device) -> Tensor:
    """Of all calls' channels, one after the other, which call each belongs to."""
    channels = torch.tensor([call.channels for call in calls])
    return torch.arange(len(calls)).repeat_interleave(channels).to(device, non_blocking=True)


def _of_gradients(calls: Sequence[Arrived]) -> Tensor:
    """T4's energies of the channels of all calls from what the backward pass has computed anyway,
    and how large the gradients of weight and bias are: (7, channels).
    """
    vectors = torch.cat([call.vectors for call in calls if call.vectors is not None], 1).double()
    weight, to_weight, to_bias, inverse_scale = vectors
    sides = zip(*(call.lengths for call in calls if call.lengths is not None), strict=True)
    before, *output = (torch.cat(side, 1).double().square_().sum(0) for side in sides)

    each = torch.tensor([(call.pooled, call.eps) for call in calls], dtype=torch.float64)
    n, eps = each.T.to(vectors.device, non_blocking=True)[
        :, _call_of_channel(calls, vectors.device)
    ]
    y_squared = n * (1 - eps * inverse_scale.square())
    mean = (weight * to_bias).square() / n
    scale = (weight * to_weight / n).square() * (2 * n - y_squared)
    passing = before / inverse_scale.square()
    out = output[0] if output else (mean + scale + passing) / weight.square()
    parameters = to_weight.abs() + to_bias.abs()
    return torch.stack([mean, scale, passing, weight.square() * out, before, out, parameters])


def energies(calls: Sequence[Arrived]) -> Tensor:
    """The energies (calls, 6) float64 of a backward pass's calls, in as few operations as there are
    kinds of them; nothing waits for the device. NaN for a call with infinity or NaN, or whose
    gradient is too small to be squared.

    Source: T4 in docs/theory.md.
    """
    groups: dict[Any, list[int]] = {}
    for place, call in enumerate(calls):
        like = call.energies if call.lengths is None else call.lengths[0]
        assert like is not None
        key = (like.device, call.lengths and (len(call.lengths), len(like), like.dtype))
        groups.setdefault(key, []).append(place)
    found: dict[int, Tensor] = {}
    for (device, _), places in groups.items():
        own = [calls[place] for place in places]
        ready = [call.energies for call in own if call.energies is not None]
        table = torch.cat(ready, 1) if ready else _of_gradients(own)
        sums = torch.zeros(len(own), len(table), dtype=torch.float64, device=device)
        sums.index_add_(0, _call_of_channel(own, device), table.T)
        lost = (sums[:, -2:-1] < FAINT) & (sums[:, -1:] > 0)
        told = torch.where(lost | ~sums.isfinite().all(1, keepdim=True), nan, sums[:, :-1])
        found |= dict(zip(places, told, strict=True))
    return torch.stack([found[place].to(found[0].device) for place in range(len(calls))])


@dataclass
class Reading:
    """A layer's calls so far, as numbers.

    Attributes:
        channels, pooled: of the last call.
        energies: those of ``ENERGIES``, summed over the calls.
        backward_calls: that reached the layer, and gave finite numbers.
        not_finite: calls that did not, and are left out of all else.
    """

    channels: int = 0
    pooled: int | None = None
    energies: tuple[float, ...] = (0.0,) * len(ENERGIES)
    backward_calls: int = 0
    not_finite: int = 0

    def share(self, name: str) -> float:
        total = self.energies[ENERGIES.index("total")]
        return self.energies[ENERGIES.index(name)] / total if total != 0 else nan

    def norm(self, name: str) -> float:
        """Root mean square over the backward calls."""
        energy = self.energies[ENERGIES.index(name)]
        return sqrt(energy / self.backward_calls) if self.backward_calls else nan
