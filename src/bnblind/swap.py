"""Exchange the batch-norm layers of a model for another variant."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from bnblind.errors import BadInput
from bnblind.layers import (
    agree,
    plain,
    require_channels,
    require_module,
    require_own_forward,
)
from bnblind.norms import (
    BatchStatistics,
    FrozenStatistics,
    Norm,
    RunningAverages,
    build_norm,
    freeze_statistics,
    norm_class,
)
from bnblind.standardization import per_channel

OF_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
"""Parameters and buffers of torch's layers."""

AVERAGING = (BatchStatistics, RunningAverages)
"""Variants that go on with the layer's running statistics."""


@dataclass
class _Seen:
    """What a layer was called with."""

    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """The different shapes of one sample's features."""
    like: Tensor = field(default_factory=lambda: torch.empty(0))
    """A tensor of the features' dtype on their device."""


@contextmanager
def _trial_run(model: nn.Module, example_input: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
    """A copy of the model and of the input to run once: no trace of it stays anywhere."""
    devices = [example_input.device] if example_input.is_cuda else []
    copy = deepcopy(model)
    with torch.random.fork_rng(devices), torch.no_grad():
        try:
            yield copy, example_input.clone()
        except BadInput:
            raise
        except (ValueError, RuntimeError) as error:
            raise BadInput(
                f"the model does not run on example_input of shape {tuple(example_input.shape)}: "
                f"{error}; pass a batch it accepts, in the mode that it is in"
            ) from error


def _batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The model's batch-norm layers by name, each once; raises BadInput if there is none, or one
    does not know its number of channels yet.
    """
    require_module(model)
    layers = {
        name or "(model)": module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
    }
    if not layers:
        raise BadInput(
            f"swap_norm needs a model with batch norm; found none in {type(model).__name__}; "
            f"allowed: BatchNorm1d, BatchNorm2d, BatchNorm3d, SyncBatchNorm"
        )
    for name, layer in layers.items():
        require_channels(name, layer)
        require_own_forward(name, layer)
    return layers


def _watch_subclass(name: str, layer: _BatchNorm) -> None:
    """On every call of a subclass of torch's layers, check that in either mode it normalizes and
    then calls its own modules in their order, such as timm's BatchNormAct2d, and holds nothing
    else; a BadInput says that it does not.
    """
    holds = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    more = [own for own, _ in holds if own not in OF_BATCH_NORM]

    def expected(layer: _BatchNorm, x: Tensor) -> Tensor:
        training = layer.training or layer.running_mean is None
        averages = (None, None) if training else (layer.running_mean, layer.running_var)
        z = F.batch_norm(x, *averages, layer.weight, layer.bias, training, 0.0, layer.eps)
        for module in layer.children():
            z = module(z)
        return z

    def agrees(layer: _BatchNorm, x: Tensor) -> bool:
        results = []
        for forward in (expected, type(layer).forward):
            with torch.random.fork_rng([x.device] if x.is_cuda else []):  # modules may draw from it
                results.append(forward(layer, x.clone()))
        return agree(*results)

    def check(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm)
        known, modes = not more, {module: module.training for module in layer.modules()}
        for training in (False, True):
            layer.train(training)
            try:
                known = known and agrees(layer, args[0])
            except ValueError:  # too few values to take statistics of
                continue
            except RuntimeError:  # its modules are not called one after the other
                known = False
        for module, training in modes.items():
            module.training = training
        if not known:
            own = [name for name, _ in layer.named_children()]
            told = f"and calling {', '.join(own)}" if own else "(it holds no modules)"
            raise BadInput(
                f"layer {name}: its class {type(layer).__name__} does more than normalizing "
                f"{told}{'; it holds ' if more else ''}{', '.join(more)}; replace it by torch's "
                "BatchNorm and modules of its own first"
            )

    layer.register_forward_pre_hook(check)


def _calls(model: nn.Module, example_input: Tensor) -> dict[str, _Seen]:
    """What each batch-norm layer is called with when the model runs on the input."""
    with _trial_run(model, example_input) as (copy, x):
        layers = _batch_norms(copy)
        seen = {name: _Seen() for name in layers}

        def record(name: str, layer: nn.Module, args: tuple[Tensor, ...]) -> None:
            if not args:
                raise BadInput(f"layer {name}: found a call by keyword; pass it positionally")
            (features,) = args
            shape = tuple(features.shape[1:])
            if shape not in seen[name].shapes:
                seen[name].shapes.append(shape)
            seen[name].like = features.new_empty(0)

        for name, layer in layers.items():
            layer.register_forward_pre_hook(partial(record, name))
            if not plain(layer):
                _watch_subclass(name, layer)
        copy(x)
    return seen


def _check(layer: _BatchNorm, norm: str, shapes: list[tuple[int, ...]]) -> None:
    """Raises BadInput where the variant cannot take the layer's place."""
    variant = norm_class(norm)
    by_features = variant.affine_by_element or variant.needs_positions
    if not shapes and not plain(layer):
        raise BadInput(
            f"example_input never reaches it, and its class {type(layer).__name__} may do more "
            f"than normalizing; pass an input, or set a mode, in which the model calls it"
        )
    if not shapes and (by_features or issubclass(variant, FrozenStatistics)):
        raise BadInput(
            f"example_input never reaches it, but {norm!r} depends on its features; "
            f"pass an input, or set a mode, in which the model calls it"
        )
    if variant.affine_by_element and len(shapes) > 1:
        raise BadInput(
            f"{norm!r} has one shape of features; found calls with "
            f"{' and '.join(map(str, shapes))}; "
            f"use a norm with an affine phase by channel, such as 'gn'"
        )
    few = [shape for shape in shapes if variant.needs_positions and prod(shape[1:]) < 2]
    if few:
        raise BadInput(
            f"{norm!r} needs at least 2 positions per channel; found features {few[0]} per sample; "
            f"use another norm or a larger example_input"
        )
    if issubclass(variant, AVERAGING) and layer.running_mean is None:
        raise BadInput(
            f"{norm!r} keeps running statistics; found track_running_stats=False; "
            f"use a layer with running statistics, or a norm without"
        )
    if issubclass(variant, BatchStatistics) and layer.momentum is None:
        raise BadInput(
            f"{norm!r} averages with a fixed momentum; found momentum=None (a cumulative "
            f"average); set a number, such as 0.1"
        )


def _repeated(v: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``v`` (C,) at every position of ``shape`` (C, *spatial)."""
    return per_channel(v, v.new_empty(1, *shape)).expand(1, *shape)[0].clone()


def _carry_affine(layer: _BatchNorm, new: Norm, memo: dict[int, Any]) -> None:
    for name in ("weight", "bias"):
        if getattr(layer, name) is None:  # affine=False, bias=False: it stays 1, or 0
            getattr(new, name).requires_grad_(False)
            continue
        # Through the memo, so that parameters shared between layers stay shared.
        own = deepcopy(getattr(layer, name), memo)
        if own.shape != new.affine_shape():  # repeated, a shared one becomes each layer's own
            own = nn.Parameter(_repeated(own.detach(), new.shape), own.requires_grad)
        setattr(new, name, own)


def _replacement(layer: _BatchNorm, norm: str, seen: _Seen, memo: dict[int, Any]) -> Norm:
    _check(layer, norm, seen.shapes)
    new = build_norm(norm, seen.shapes[0] if seen.shapes else (layer.num_features,), layer.eps)
    known = layer.running_mean if layer.weight is None else layer.weight
    new.to(seen.like if known is None else known).train(layer.training)
    if dict(new.named_parameters()):
        _carry_affine(layer, new, memo)
    if isinstance(new, BatchStatistics):
        assert layer.momentum is not None  # refused by _check
        new.momentum = layer.momentum
    if isinstance(new, AVERAGING):
        for name in ("running_mean", "running_var"):
            setattr(new, name, deepcopy(getattr(layer, name), memo))
    return new


def _followed(new: Norm, modules: list[tuple[str, nn.Module]]) -> nn.Module:
    """The variant as ``norm``, then what a subclass calls after normalizing, by its own names."""
    name = "norm"
    while name in dict(modules):
        name += "_"
    followed = nn.Sequential(OrderedDict([(name, new), *modules]))
    followed.training = new.training  # and each module in its own mode
    return followed


def swap_norm(model: nn.Module, norm: str, *, example_input: Tensor) -> nn.Module:
    """A deep copy of the model with every batch-norm layer replaced by the variant ``norm``.

    Replaced are BatchNorm1d, 2d, 3d, SyncBatchNorm and their subclasses; a layer under two names
    stays one layer. What a subclass calls after normalizing, such as the activation of timm's
    BatchNormAct2d, stays: the layer becomes a Sequential of ``norm`` and the subclass's modules. A
    replacement has the layer's eps, dtype, device and training flag; weight and bias where the
    variant has an affine phase, repeated over the positions for ``ln``, and fixed at 1 and 0 where
    the layer has none (``affine=False``, ``bias=False``); running statistics for variants that keep
    such, and the momentum for those with batch statistics; ``bn_ema`` and ``bn_renorm`` average
    with their own; a SyncBatchNorm's takes those of its own process. ``bn_frozen`` takes its
    statistics from ``example_input``, from a layer's last call. Hooks on a replaced layer are not
    taken over.

    Args:
        model: left as it is, bit for bit.
        norm: one of ``bnblind.norms.norm_names()``.
        example_input: a batch for the model in its present mode; it is run through copies, to
            see the shapes of the features.

    Raises:
        BadInput: unknown norm, no batch norm, a model that does not run on the example, or a
            layer whose place the variant cannot take; the message names the layer.

    >>> model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
    >>> swap_norm(model, "ln", example_input=torch.randn(2, 5))[1]
    LayerNorm((3,), eps=1e-05)
    """
    variant = norm_class(norm)
    layers = _batch_norms(model)
    if not isinstance(example_input, Tensor):
        raise BadInput(f"example_input must be a tensor; found {type(example_input).__name__}")
    seen = _calls(model, example_input)
    memo: dict[int, Any] = {}
    for name, layer in layers.items():
        try:
            # deepcopy takes what the memo holds in place of the layer, wherever it stands.
            new = _replacement(layer, norm, seen[name], memo)
        except BadInput as error:
            raise BadInput(f"layer {name}: {error}") from error
        kept = [] if plain(layer) else [*layer.named_children()]
        memo[id(layer)] = _followed(new, deepcopy(kept, memo)) if kept else new
    swapped = deepcopy(model, memo)
    if issubclass(variant, FrozenStatistics):
        with _trial_run(swapped, example_input) as (copy, x):
            freeze_statistics(copy, x)
            for own, frozen in zip(swapped.modules(), copy.modules(), strict=True):
                if isinstance(frozen, FrozenStatistics):
                    own.load_state_dict(frozen.state_dict())
    return swapped
