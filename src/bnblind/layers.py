"""What a normalization layer does with a batch: its two phases apart, and its backward pass."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from bnblind.errors import BadInput
from bnblind.norms import BatchCentering, BatchNorm, BatchStatistics, DetachedBatchNorm, Norm
from bnblind.standardization import (
    bn_backward,
    per_channel,
    pooled_axes,
    square_root,
    standardize,
)

ANALYSED = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _InstanceNorm, Norm)
"""Layers whose two phases are known."""

BatchLayer = _BatchNorm | BatchStatistics
"""Layers that may take statistics of the batch."""


@dataclass(frozen=True)
class Standardized:
    """A layer's standardization phase on one batch.

    Attributes:
        y: (n, *S) the layer's output before its affine phase.
        sigma: what it divided by: (C,) for batch norm, else broadcastable to ``y``, or None
            where torch does not say.
        affine: the affine phase, (m, *S) -> (m, *S).
        carry: gradient with respect to ``y`` -> gradient with respect to the layer's input.
        center: (*S) the batch mean of ``y``: exactly 0 where it is 0 but for rounding.
    """

    y: Tensor
    sigma: Tensor | None
    affine: Callable[[Tensor], Tensor]
    carry: Callable[[Tensor], Tensor]
    center: Tensor


def standardized(name: str, layer: nn.Module, x: Tensor) -> Standardized:
    """Send ``x`` (n, *S) through the standardization phase of ``layer``.

    Batch norm takes the statistics of ``x``, whatever its mode; every other layer does what it
    does in the mode it is in.

    Raises:
        BadInput: a layer whose phases are not known, or features it cannot standardize.
    """
    if isinstance(layer, (_BatchNorm, BatchNorm)):
        values = x.numel() // x.shape[1]
        if values < 2:
            raise BadInput(
                f"layer {name!r} needs at least 2 values a channel to take statistics of; "
                f"found features of shape {tuple(x.shape)}"
            )
        y, sigma = standardize(x, layer.eps)
        # The mean of y over the batch is +-1e-17, which would open units at random.
        center = torch.zeros_like(y[0]) if y.dim() == 2 else y.mean(0)
        return Standardized(
            y, sigma, affine_phase(layer), partial(bn_backward, y=y, sigma=sigma), center
        )
    if not isinstance(layer, ANALYSED):
        raise BadInput(
            f"layer {name!r} is a {type(layer).__name__}; allowed: BatchNorm, LayerNorm, RMSNorm, "
            "GroupNorm, InstanceNorm and the variants of build_norm. For another, take its "
            "output y and call split_head"
        )
    leaf = x.detach().clone().requires_grad_()
    scale: Tensor | None = None
    with torch.enable_grad():
        if isinstance(layer, Norm):
            scale = layer.statistics(leaf.detach())[1]
            y = layer.standardize(leaf)
        else:
            y = _without_affine(layer)(leaf)

    def carry(G: Tensor) -> Tensor:
        return torch.autograd.grad(y, leaf, G, retain_graph=True)[0]

    value = y.detach()
    return Standardized(value, scale, affine_phase(layer), carry, _center(layer, value))


def _center(layer: nn.Module, y: Tensor) -> Tensor:
    centers = isinstance(layer, (BatchCentering, DetachedBatchNorm)) and layer.training
    return torch.zeros_like(y[0]) if centers and y.dim() == 2 else y.mean(0)


def affine_phase(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """The affine phase of a layer, without its standardization phase."""
    if isinstance(layer, Norm):
        return layer.affine
    weight: Tensor | None = getattr(layer, "weight", None)
    bias: Tensor | None = getattr(layer, "bias", None)
    by_element = isinstance(layer, (nn.LayerNorm, nn.RMSNorm))

    def affine(y: Tensor) -> Tensor:
        if weight is not None:
            y = y * (weight if by_element else per_channel(weight, y))
        if bias is not None:
            y = y + (bias if by_element else per_channel(bias, y))
        return y

    return affine


def _without_affine(layer: nn.Module) -> nn.Module:
    """The same layer with neither weight nor bias."""
    bare = copy.copy(layer)
    bare._parameters = dict.fromkeys(layer._parameters)
    return bare


def batch_statistics(layer: BatchLayer, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale, broadcastable to ``x``, that a layer with batch statistics takes of it."""
    if isinstance(layer, Norm):
        return layer.statistics(x)
    var, mean = torch.var_mean(x, pooled_axes(x), correction=0)
    return per_channel(mean, x), per_channel(square_root(var + layer.eps), x)


def running_statistics(name: str, layer: BatchLayer, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale, broadcastable to ``x``, that the layer uses in evaluation mode.

    Raises:
        BadInput: the layer keeps none.
    """
    if isinstance(layer, Norm):
        return layer.eval().statistics(x)
    if layer.running_mean is None or layer.running_var is None:
        raise BadInput(
            f"layer {name!r} keeps no running statistics (track_running_stats=False); it takes "
            "those of the batch even in evaluation mode"
        )
    scale = square_root(layer.running_var + layer.eps)
    return per_channel(layer.running_mean, x), per_channel(scale, x)


def normalization_layers(model: nn.Module) -> list[str]:
    """Names of the layers of ``model`` that can be analysed."""
    return [name for name, layer in model.named_modules() if isinstance(layer, ANALYSED)]
