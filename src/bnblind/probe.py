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

from bnblind.batch_norm_calls import (
    ENERGIES,
    Arrived,
    Node,
    Reading,
    arrived,
    energies,
    graph_behind,
)
from bnblind.errors import BadInput
from bnblind.layers import plain, require_channels, require_module
from bnblind.norms.bn import BatchNorm
from bnblind.probe_figures import bars, film

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FRAMES = 1000
"""Backward calls that a history holds at most."""

Calls = list[tuple[int, str, Arrived]]
"""Batch-norm calls of a backward pass: place in the forward pass, layer's name, what arrived."""


def _append(
    calls: Calls,
    place: int,
    name: str,
    node: Node,
    grad_inputs: tuple[Tensor | None, ...],
    grad_outputs: tuple[Tensor | None, ...],
) -> None:
    """The hook of a batch-norm node."""
    if grad_outputs[0] is not None:
        with torch.no_grad():
            calls.append((place, name, arrived(node, grad_inputs, grad_outputs[0])))


def _by_layer(calls: Calls) -> tuple[tuple[str, ...], Tensor]:
    """The layers reached, and for each the sums of its calls' energies, whether it gave finite ones
    (1 or 0), and how many calls did not; (layers, 8) float64, on the device.
    """
    with torch.no_grad():
        found = energies([call for _, _, call in calls])
        finite = found.isfinite()[:, :1]
        rows = torch.cat([torch.where(finite, found, 0), finite, ~finite], 1)
        names = tuple(dict.fromkeys(name for _, name, _ in calls))
        place = torch.tensor([names.index(name) for _, name, _ in calls])
        place = place.to(rows.device, non_blocking=True)
        table = rows.new_zeros(len(names), rows.shape[1]).index_add_(0, place, rows)
        table[:, -2].clamp_(max=1)
    return names, table


def _roots(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Node]:
    """The nodes that a backward call starts from: its first argument, positional or named."""
    first: Any = args[0] if args else kwargs.get("tensors", kwargs.get("outputs"))
    several = [first] if isinstance(first, Tensor | torch.autograd.graph.GradientEdge) else first
    return [root.grad_fn if isinstance(root, Tensor) else root.node for root in several]


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _owner(
    node: Node, place: int, owned: dict[str, tuple[int, int]], owners: dict[int, list[str]]
) -> str | None:
    """The layer that owns the weight or the running statistics of the node, by their pointers.

    A call with neither is named by its place in the forward pass; on a single sample it is
    what torch makes of instance norm, and no batch norm (None).
    """
    saved = (_pointer(node._saved_weight), _pointer(node._saved_running_mean))
    matches = {name for pointer in saved if pointer for name in owners.get(pointer, ())}
    if len(matches) > 1:  # tied weights: both must agree
        matches = {name for name in matches if owned[name] == saved}
    if len(matches) == 1:
        return matches.pop()
    return f"(batch norm {place})" if node._saved_input.shape[0] > 1 else None


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

    >>> model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
    >>> loss = model(torch.randn(8, 5)).sum()  # inside the block or before it
    >>> with BlindnessProbe(model) as probe:
    ...     loss.backward()
    >>> probe.table()["mean_share"].round(3).tolist()  # the same gradient for every sample
    [1.0]

    Inside the block, ``Tensor.backward``, ``torch.autograd.backward`` and ``torch.autograd.grad``
    of this thread are watched: at every batch norm of the graph, autograd's own saved tensors
    give the standardized features ``y``, and the gradient that arrives times the layer's weight
    is ``G = dL/dy``. The model and its gradients are bit for bit what they are without the
    probe. The block may be entered again: the readings accumulate. They stay on the device until
    they are asked for, so that no step waits for them. Not seen are function transforms
    (torch.func), a backward call in another thread, and one that names no tensor, only gradient
    edges. Under a loss scaler the shares are the same, and norms are those of the scaled loss.

    Args:
        model: with BatchNorm1d, 2d, 3d or SyncBatchNorm (in one process), or this library's
            ``bn``; in any mode, with any loss.
        every: backward calls from one that :meth:`history` keeps to the next; 0: it keeps none. It
            holds 1,000 at most: once it is full, every second one goes, and ``every`` doubles.

    Raises:
        BadInput: the model has no batch norm, or one without its number of channels. Out of a
            backward call: batch norm synchronized over processes, activation checkpointing,
            torch.compile, ``is_grads_batched``.

    Source: T4 in docs/theory.md.
    """

    def __init__(self, model: nn.Module, *, every: int = 0) -> None:
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
        for name, layer in self._layers.items():
            require_channels(name, layer)
        if not isinstance(every, int) or every < 0:
            raise BadInput(f"every must be a whole number, at least 0; found {every!r}")
        self._asked_every = every
        self._mode: _BackwardCalls | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all that was measured."""
        self._every, self._steps = self._asked_every, 0
        self._sums: dict[tuple[str, ...], Tensor] = {}
        self._last: dict[str, tuple[int, int]] = {}
        self._frames: list[tuple[int, tuple[str, ...], Tensor]] = []
        self._used: set[str] = set()

    @property
    def steps(self) -> int:
        """Backward calls seen."""
        return self._steps

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
        owners: dict[int, list[str]] = {}
        for name, pointers in owned.items():
            for pointer in pointers:
                owners.setdefault(pointer, []).append(name)
        calls: Calls = []
        handles = []
        graph = graph_behind(_roots(args, kwargs))
        self._used |= {
            name for name, layer in self._layers.items() if id(layer.weight) in graph.leaves
        }
        try:
            for place, node in enumerate(graph.calls, 1):
                name = _owner(node, place, owned, owners)
                if name is not None:
                    handles.append(node.register_hook(partial(_append, calls, place, name, node)))
            result = func(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        self._steps += 1
        if calls:
            self._keep(calls)
        return result

    def _keep(self, calls: Calls) -> None:
        calls = sorted(calls, key=lambda call: call[0])
        self._last |= {name: (call.channels, call.pooled) for _, name, call in calls}
        names, found = _by_layer(calls)
        known = self._sums.get(names)
        self._sums[names] = found if known is None else known + found
        if self._every and (self._steps - 1) % self._every == 0:
            if len(self._frames) == FRAMES:
                self._every *= 2
                self._frames = [
                    frame for frame in self._frames if (frame[0] - 1) % self._every == 0
                ]
            if (self._steps - 1) % self._every == 0:
                self._frames.append((self._steps, names, found))

    def _readings(self) -> dict[str, Reading]:
        """Of the layers that were reached; here, the device is waited for."""
        sums: dict[str, list[float]] = {}
        for names, found in self._sums.items():
            for name, row in zip(names, found.tolist(), strict=True):
                known = sums.get(name, [0.0] * len(row))
                sums[name] = [a + b for a, b in zip(known, row, strict=True)]
        return {
            name: Reading(*self._last[name], tuple(row[:-2]), int(row[-2]), int(row[-1]))
            for name, row in sums.items()
        }

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
                passes.
            grad_norm_in, grad_norm_out: Frobenius norms ``|dL/d(layer input)|`` and
                ``|dL/d(layer output)|`` in units of the loss a unit of the features. A layer
                called several times in one pass counts as one with all its calls stacked; over
                several backward calls, the root mean square of those that reached the layer.
            found: ``measured``; ``gradient 0``: reached, and the shares are NaN; ``not finite``:
                every call gave infinity or NaN; ``not reached`` by any backward call; ``cannot be
                seen``: its class does arithmetic of its own in place of torch's batch norm, and its
                weight was reached or gets no gradient that would tell; or a call without a name,
                below, has its number of channels. All numbers of the last three are NaN.
            not_finite: calls that gave infinity or NaN (an overflow, as a loss scaler makes them at
                times), or gradients too small to be squared; they are left out of all else.

        A layer that has neither weight nor running statistics has no row of its own, only its calls
        have.

        Raises:
            BadInput: no backward call has been seen.
        """
        if not self._steps:
            raise BadInput(
                "BlindnessProbe has seen no backward call; call loss.backward() inside "
                "`with BlindnessProbe(model) as probe:`, in the same thread"
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
        rows |= self._readings()
        table = pd.DataFrame([_numbers(name, reading) for name, reading in rows.items()])
        unnamed = {reading.channels for name, reading in rows.items() if name not in self._layers}
        found = [self._found(name, reading, unnamed) for name, reading in rows.items()]
        counts = [reading.not_finite for reading in rows.values()]
        return table.assign(found=found, not_finite=counts).astype({"pooled": "Int64"})

    def _found(self, name: str, reading: Reading, unnamed: set[int]) -> str:
        """``unnamed``: the numbers of channels of calls that are no layer's."""
        if reading.backward_calls:
            return "measured" if reading.energies[ENERGIES.index("total")] else "gradient 0"
        if reading.not_finite:
            return "not finite"
        layer = self._layers[name]
        known = layer.weight is not None and layer.weight.requires_grad
        hidden = not plain(layer) and (name in self._used or not known)
        return "cannot be seen" if hidden or reading.channels in unnamed else "not reached"

    def history(self) -> "pd.DataFrame":
        """One row per kept backward call and layer that it reached: ``step``, from 1, and the
        columns ``layer`` to ``grad_norm_out`` of :meth:`table` but ``pooled``, of that call alone;
        shares and norms are NaN where it was not finite.

        Raises:
            BadInput: the probe was made without ``every``.
        """
        if not self._asked_every:
            raise BadInput(
                "this BlindnessProbe keeps no history; make it with every=1, or another number of "
                "steps from one that is kept to the next"
            )
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for step, names, found in self._frames:
            for name, row in zip(names, found.tolist(), strict=True):
                reading = Reading(*self._last[name], tuple(row[:-2]), int(row[-2]), int(row[-1]))
                rows.append({"step": step, **_numbers(name, reading)})
        columns = ["step", *_numbers("", Reading())]
        return pd.DataFrame(rows, columns=columns).drop(columns="pooled")

    def compare(self, other: "BlindnessProbe") -> "pd.DataFrame":
        """Shares and norms beside those of another probe, one row per layer that either has, by its
        name; the columns end in ``_1`` and ``_2``, and ``passing_change`` is the second's passing
        share minus the first's.

        Raises:
            BadInput: one of them has seen no backward call.
        """
        left, right = (
            probe.table().drop(columns=["channels", "pooled", "found", "not_finite"])
            for probe in (self, other)
        )
        order = dict.fromkeys([*left["layer"], *right["layer"]])
        joined = left.merge(right, on="layer", how="outer", suffixes=("_1", "_2"))
        joined = joined.set_index("layer").loc[[*order]].reset_index()
        return joined.assign(passing_change=joined["passing_2"] - joined["passing_1"])

    def plot(self) -> "Figure":
        """The table as bars, a layer a row; of a probe with a history what passes of each layer
        along the backward calls. A figure of matplotlib's.

        Raises:
            BadInput: no backward call has been seen.
        """
        table = self.table()
        return film(self.history()) if self._asked_every else bars(table)


def _numbers(name: str, reading: Reading) -> dict[str, Any]:
    """A layer's row."""
    return {
        "layer": name,
        "channels": reading.channels,
        "pooled": reading.pooled,
        "mean_share": reading.share("blocked_by_mean"),
        "scale_share": reading.share("blocked_by_scale"),
        "passing": reading.share("passing"),
        "grad_norm_in": reading.norm("energy_in"),
        "grad_norm_out": reading.norm("energy_out"),
    }
