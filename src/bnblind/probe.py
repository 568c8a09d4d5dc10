"""How much of the gradient each batch-norm layer of a model blocks, during the user's own backward.

The probe reads what autograd has saved for the backward pass; it runs nothing of the model.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf, nan, sqrt
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from bnblind.errors import BadInput
from bnblind.norms import BatchNorm
from bnblind.shares import Blocked, blocked
from bnblind.standardization import per_channel, pooled_axes

if TYPE_CHECKING:
    import pandas as pd

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


@dataclass
class _Reading:
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

    def add(self, call: "_Reading") -> None:
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


def _read(node: Node, gradients: tuple[Tensor | None, ...], gradient: Tensor) -> _Reading:
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
    return _Reading(
        channels=gradient.shape[1],
        pooled=gradient.numel() // gradient.shape[1] if training else 0,
        blocked_by_mean=mean * unit**2,
        blocked_by_scale=scale * unit**2,
        passing=passing * unit**2,
        total=total * unit**2,
        energy_in=energy_in.sum().item() * unit**2,
        energy_out=_energy(gradient).sum().item() * unit**2,
    )


def _append(
    readings: list[_Reading],
    node: Node,
    grad_inputs: tuple[Tensor | None, ...],
    grad_outputs: tuple[Tensor | None, ...],
) -> None:
    """The hook of a batch-norm node."""
    if grad_outputs[0] is not None:
        with torch.no_grad():
            readings.append(_read(node, grad_inputs, grad_outputs[0]))


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


def _batch_norm_calls(roots: Iterable[Node]) -> list[Node]:
    """The batch-norm nodes behind the roots, in the order of the forward pass.

    Raises:
        BadInput: the graph hides batch norms, or holds one of several processes.
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


def _roots(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Node]:
    """The nodes that a backward call starts from; its first argument, under whatever name."""
    first: Any = args[0] if args else kwargs.get("tensors", kwargs.get("outputs"))
    several = [first] if isinstance(first, Tensor | torch.autograd.graph.GradientEdge) else first
    return [root.grad_fn if isinstance(root, Tensor) else root.node for root in several]


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


class _BackwardCalls(TorchFunctionMode):
    """While active, every backward call of this thread goes through ``around``."""

    ENTRIES = (torch.Tensor.backward, torch.autograd.backward, torch.autograd.grad)

    def __init__(self, around: Callable[..., Any]) -> None:
        super().__init__()
        self.around = around

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in self.ENTRIES:
            return self.around(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


class BlindnessProbe:
    """Measures what each batch-norm layer blocks of the gradient that arrives at it.

    ::

        loss = criterion(model(x), target)  # inside the block or before it
        with bnblind.BlindnessProbe(model) as probe:
            loss.backward()
        print(probe.table())

    Inside the block, ``Tensor.backward``, ``torch.autograd.backward`` and ``torch.autograd.grad``
    of this thread are watched: at every batch norm of the graph, autograd's own saved tensors
    give the standardized features ``y``, and the gradient that arrives times the layer's weight
    is ``G = dL/dy``. The model and its gradients are bit for bit what they are without the
    probe. The block may be entered again: the readings accumulate. Not seen are function
    transforms (torch.func) and a backward call that names no tensor, only gradient edges.

    Args:
        model: with BatchNorm1d, 2d, 3d or SyncBatchNorm (in one process), or this library's
            ``bn``; in any mode, with any loss.

    Raises:
        BadInput: the model has no batch norm. Out of a backward call: batch norm synchronized
            over processes, activation checkpointing, torch.compile, ``is_grads_batched``.

    Source: T4 in docs/theory.md.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = {
            name or "(model)": module
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm | BatchNorm)
        }
        if not self._layers:
            raise BadInput(
                f"BlindnessProbe needs a model with batch norm; found none in "
                f"{type(model).__name__}; allowed: BatchNorm1d, BatchNorm2d, BatchNorm3d, "
                f"SyncBatchNorm in one process, bnblind.build_norm('bn')"
            )
        self._readings: dict[str, _Reading] = {}
        self._backward_calls = 0
        self._mode: _BackwardCalls | None = None

    def __enter__(self) -> "BlindnessProbe":
        if self._mode is not None:
            raise BadInput("this BlindnessProbe is active already; leave its with block first")
        self._mode = _BackwardCalls(self._around)
        self._mode.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._mode is not None
        mode, self._mode = self._mode, None
        mode.__exit__(kind, error, trace)

    def _around(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one backward call with a hook at each batch norm that lies behind it."""
        if kwargs.get("is_grads_batched"):
            raise BadInput("BlindnessProbe reads one gradient at a time; found is_grads_batched")
        owned = {
            name: (_pointer(module.weight), _pointer(module.running_mean))
            for name, module in self._layers.items()
        }
        calls: dict[str, list[_Reading]] = {}
        handles = []
        try:
            for place, node in enumerate(_batch_norm_calls(_roots(args, kwargs)), 1):
                name = self._name(node, place, owned)
                if name is not None:
                    hook = partial(_append, calls.setdefault(name, []), node)
                    handles.append(node.register_hook(hook))
            result = func(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        self._backward_calls += 1
        for name, readings in calls.items():
            if readings:
                layer = self._readings.setdefault(name, _Reading())
                layer.backward_calls += 1
                for reading in readings:
                    layer.add(reading)
        return result

    def _name(self, node: Node, place: int, owned: dict[str, tuple[int, int]]) -> str | None:
        """The layer that owns the weight or the running statistics of the node.

        A call with neither is named by its place in the forward pass; on a single sample it is
        what torch makes of instance norm, and no batch norm (None).
        """
        saved = (_pointer(node._saved_weight), _pointer(node._saved_running_mean))
        matches = [
            name
            for name, own in owned.items()
            if any(mine == theirs != 0 for mine, theirs in zip(own, saved, strict=True))
        ]
        if len(matches) > 1:  # tied weights: both must agree
            matches = [name for name in matches if owned[name] == saved]
        if len(matches) == 1:
            return matches[0]
        return f"(batch norm {place})" if node._saved_input.shape[0] > 1 else None

    def table(self) -> "pd.DataFrame":
        """One row a layer, in the order of the model.

        Columns:
            layer: the module's name; ``(model)`` for the model itself; ``(batch norm 3)`` for
                a call without weight and running statistics of its own, the third batch norm in
                the forward pass behind its backward call. Such calls follow the layers.
            channels: C.
            pooled: how many values a channel's statistics pool, n times the positions, in the
                layer's last call; 0 in evaluation mode.
            mean_share, scale_share, passing: the shares of ``|G|^2`` that the centering blocks,
                that the scaling blocks, and that passes (:func:`bnblind.blocked`); they add to
                1. Over several calls each is weighted by its ``|G|^2``. In evaluation mode all
                passes. NaN where the gradient is 0.
            grad_norm_in, grad_norm_out: Frobenius norms ``|dL/d(layer input)|`` and
                ``|dL/d(layer output)|`` in units of the loss a unit of the features. A layer
                called several times in one pass counts as one with all its calls stacked; over
                several backward calls, the root mean square of those that reached the layer.

        A layer that no backward call reached has NaN in place of numbers. A layer that has
        neither weight nor running statistics has no row of its own, only its calls have.

        Raises:
            BadInput: no backward call has been seen.
        """
        if not self._backward_calls:
            raise BadInput(
                "BlindnessProbe has seen no backward call; call loss.backward() inside "
                "`with BlindnessProbe(model) as probe:`"
            )
        import pandas as pd

        parameters = {
            name: module.running_mean if module.weight is None else module.weight
            for name, module in self._layers.items()
        }
        rows = {
            name: _Reading(channels=len(owned))
            for name, owned in parameters.items()
            if owned is not None
        }
        rows |= self._readings
        readings = rows.values()
        return pd.DataFrame(
            {
                "layer": list(rows),
                "channels": [r.channels for r in readings],
                "pooled": pd.array([r.pooled for r in readings], dtype="Int64"),
                "mean_share": [r.share(r.blocked_by_mean) for r in readings],
                "scale_share": [r.share(r.blocked_by_scale) for r in readings],
                "passing": [r.share(r.passing) for r in readings],
                "grad_norm_in": [r.norm(r.energy_in) for r in readings],
                "grad_norm_out": [r.norm(r.energy_out) for r in readings],
            }
        )
