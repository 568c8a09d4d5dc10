"""How much of the gradient each batch-norm layer of a model blocks, during the user's own backward.

The probe reads what autograd has saved for the backward pass; it runs nothing of the model.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from bnblind.batch_norm_calls import Node, Reading, batch_norm_calls, read
from bnblind.errors import BadInput
from bnblind.layers import require_module
from bnblind.norms.bn import BatchNorm

if TYPE_CHECKING:
    import pandas as pd


def _append(
    readings: list[Reading],
    node: Node,
    grad_inputs: tuple[Tensor | None, ...],
    grad_outputs: tuple[Tensor | None, ...],
) -> None:
    """The hook of a batch-norm node."""
    if grad_outputs[0] is not None:
        with torch.no_grad():
            readings.append(read(node, grad_inputs, grad_outputs[0]))


def _roots(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Node]:
    """The nodes that a backward call starts from: its first argument, positional or named."""
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
        require_module(model)
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
        self._readings: dict[str, Reading] = {}
        self._backward_calls = 0
        self._mode: _BackwardCalls | None = None

    def __enter__(self) -> "BlindnessProbe":
        if self._mode is not None:
            raise BadInput("this BlindnessProbe is active already; leave its with block first")
        self._mode = _BackwardCalls(self._around)
        self._mode.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._mode is not None
        mode, self._mode = self._mode, None
        mode.__exit__(*error)

    def _around(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one backward call with a hook at each batch norm that lies behind it."""
        if kwargs.get("is_grads_batched"):
            raise BadInput("BlindnessProbe reads one gradient at a time; found is_grads_batched")
        owned = {
            name: (_pointer(module.weight), _pointer(module.running_mean))
            for name, module in self._layers.items()
        }
        calls: dict[str, list[Reading]] = {}
        handles = []
        try:
            for place, node in enumerate(batch_norm_calls(_roots(args, kwargs)), 1):
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
                layer = self._readings.setdefault(name, Reading())
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
        """One row per layer, in the order of the model.

        Columns:
            layer: the module's name; ``(model)`` for the model itself; ``(batch norm 3)`` for
                a call without weight and running statistics of its own, the third batch norm in
                the forward pass behind its backward call. Such calls follow the layers.
            channels: C.
            pooled: how many values per channel's statistics pool, n times the positions, in the
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
            name: Reading(channels=len(owned))
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
