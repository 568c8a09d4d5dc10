"""What a normalization layer does with a batch: its two phases apart, and its backward pass."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.lazy import LazyModuleMixin

from bnblind.errors import BadInput
from bnblind.norms import BatchStatistics, Norm, is_variant
from bnblind.norms.bn import BatchNorm
from bnblind.standardization import bn_backward, per_channel, pooled_axes, standardize

ANALYSED = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _InstanceNorm, Norm)
"""Layers whose two phases are known."""

TORCHS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm),
    *(nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
"""Those of them that are torch's own."""

BatchLayer = _BatchNorm | BatchStatistics
"""Layers that may take statistics of the batch."""


def plain(layer: nn.Module) -> bool:
    """Whether the layer is known to do nothing more than its two phases; a subclass may, and so may
    a layer whose forward pass was replaced.
    """
    return "forward" not in vars(layer) and (type(layer) in TORCHS or is_variant(layer))


def require_own_forward(name: str, layer: nn.Module) -> None:
    """Raise BadInput for a layer whose forward pass is not that of its class."""
    if "forward" in vars(layer):
        raise BadInput(
            f"layer {name}: its forward pass was replaced, and may do more than that of its class, "
            f"{type(layer).__name__}; put what it does into a module of its own first"
        )


def agree(found: Tensor, expected: Tensor) -> bool:
    """Whether two outputs of a layer are the same, up to the rounding of their dtype."""
    tolerance = 1e-8 if expected.dtype == torch.float64 else 1e-3
    return found.shape == expected.shape and bool(
        (found - expected).abs().max() <= tolerance * expected.abs().max()
    )


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

    Batch norm takes the statistics of ``x`` in either mode; every other layer does what it
    does in the mode it is in.

    Raises:
        BadInput: a layer whose phases are not known, or features it cannot standardize.
    """
    if isinstance(layer, (_BatchNorm, BatchNorm)):
        values = x.numel() // x.shape[1]
        if values < 2:
            raise BadInput(
                f"layer {name!r} needs at least 2 values per channel to take statistics of; "
                f"found features of shape {tuple(x.shape)}"
            )
        y, sigma = standardize(x, layer.eps)
        carry = partial(bn_backward, y=y, sigma=sigma)
        return Standardized(y, sigma, affine_phase(layer), carry, _center(y, centered=True))
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
            # Of a copy: running averages go on with every call.
            scale = copy.deepcopy(layer).statistics(leaf.detach())[1].detach()
            y = layer.standardize(leaf)
        else:
            # The class's own: the layer's may have been replaced.
            forward: Callable[..., Tensor] = type(layer).forward
            y = forward(_without_affine(layer), leaf)

    value = y.detach()
    centered = isinstance(layer, Norm) and layer.centers_batch and layer.training
    through = partial(_through, leaf, y)
    return Standardized(value, scale, affine_phase(layer), through, _center(value, centered))


def _through(x: Tensor, y: Tensor, G: Tensor) -> Tensor:
    """Gradient with respect to ``x`` of what has the gradient ``G`` with respect to ``y``."""
    return torch.autograd.grad(y, x, G, retain_graph=True)[0]


def _center(y: Tensor, centered: bool) -> Tensor:
    """The batch mean of ``y``; of vectors that the layer centered it is +-1e-17, which would open
    units at random, and is taken as 0.
    """
    vectors = y[0].numel() == y.shape[1]
    return torch.zeros_like(y[0]) if centered and vectors else y.mean(0)


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
    bare = copy.copy(layer)
    bare._parameters = dict.fromkeys(layer._parameters)
    return bare


def fix_batch_statistics(layer: BatchLayer, x: Tensor) -> None:
    """Have the layer use the statistics of ``x`` from now on, as in evaluation mode."""
    var, mean = torch.var_mean(x.detach(), pooled_axes(x), correction=0)
    layer.running_mean, layer.running_var = mean, var
    layer.eval()


def fix_running_statistics(name: str, layer: BatchLayer) -> None:
    """Have the layer use its running statistics from now on; raises BadInput if it keeps none."""
    if layer.running_mean is None:
        raise BadInput(
            f"layer {name!r} keeps no running statistics (track_running_stats=False); it takes "
            "those of the batch even in evaluation mode"
        )
    layer.eval()


def require_module(model: object) -> None:
    """Raise BadInput for a model that is no ``nn.Module``."""
    if not isinstance(model, nn.Module):
        raise BadInput(f"model must be a torch.nn.Module; found {type(model).__name__}")


def require_channels(name: str, layer: nn.Module) -> None:
    """Raise BadInput for a lazy layer that has seen no features yet."""
    if isinstance(layer, LazyModuleMixin) and layer.has_uninitialized_params():
        raise BadInput(
            f"layer {name}: found a {type(layer).__name__} without number of channels; run the "
            "model once before"
        )


def normalization_layers(model: nn.Module) -> list[str]:
    """Names of the layers of ``model`` that can be analysed."""
    return [name for name, layer in model.named_modules() if isinstance(layer, ANALYSED)]
