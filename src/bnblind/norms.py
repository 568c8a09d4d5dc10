"""The normalization variants.

Every variant is ``z = weight * y + bias`` (affine phase) of ``y = (x - mean) / scale``
(standardization phase); variants differ only in where mean and scale come from, so each is a
few lines. To add one, write a class with a ``statistics`` method and name it in ``NORMS``. Where
torch has the same arithmetic as one fused kernel, ``fused`` calls it, 2 to 4 times as fast.

Sources: BatchNorm, Ioffe & Szegedy 2015; LayerNorm, Ba et al. 2016; InstanceNorm, Ulyanov
et al. 2016; GroupNorm, Wu & He 2018. The ``bn_*`` controls isolate what in BN blocks.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnblind.errors import BadInput, unknown
from bnblind.standardization import per_channel, pooled_axes, square_root


class Norm(nn.Module):
    """A normalization layer for features of shape (n, *shape).

    Args:
        shape: shape of one sample's features, (D,) or (C, *spatial).
        eps: added to the variance, >= 0.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, shape: Sequence[int], eps: float = 1e-5) -> None:
        super().__init__()
        self.shape, self.eps = tuple(shape), eps
        self.weight = nn.Parameter(torch.ones(self.affine_shape()))
        self.bias = nn.Parameter(torch.zeros(self.affine_shape()))

    def affine_shape(self) -> tuple[int, ...]:
        return self.shape[:1]

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of ``x`` (n, *shape), broadcastable to it. Here: 0 and 1."""
        return x.new_zeros(()), x.new_ones(())

    def standardize(self, x: Tensor) -> Tensor:
        """The standardization phase alone: (x - mean) / scale."""
        mean, scale = self.statistics(x)
        return (x - mean) / scale

    def affine(self, y: Tensor) -> Tensor:
        """The affine phase alone."""
        if self.weight.dim() == 1:
            return per_channel(self.weight, y) * y + per_channel(self.bias, y)
        return self.weight * y + self.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.affine(self.standardize(x))

    def extra_repr(self) -> str:
        return f"{self.shape}, eps={self.eps}"


class NoNorm(Norm):
    """``none``: the identity, without parameters."""

    def __init__(self, shape: Sequence[int], eps: float = 1e-5) -> None:
        nn.Module.__init__(self)
        self.shape, self.eps = tuple(shape), eps

    def standardize(self, x: Tensor) -> Tensor:
        return x

    def affine(self, y: Tensor) -> Tensor:
        return y


class AffineOnly(Norm):
    """``bn_affine``: BN's affine phase without its standardization phase."""

    def standardize(self, x: Tensor) -> Tensor:
        return x


class Fused(Norm):
    """A norm whose two phases torch computes in one kernel; ``statistics`` says what it does."""

    @abstractmethod
    def fused(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Standardization phase, then affine phase unless weight and bias are None."""

    def standardize(self, x: Tensor) -> Tensor:
        return self.fused(x, None, None)

    def forward(self, x: Tensor) -> Tensor:
        return self.fused(x, self.weight, self.bias)


class BatchStatistics(Norm):
    """Statistics of the batch while training, running averages in evaluation mode.

    The running variance is the unbiased one and the momentum 0.1, as in torch.nn.BatchNorm.
    """

    momentum = 0.1
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, shape: Sequence[int], eps: float = 1e-5) -> None:
        super().__init__(shape, eps)
        self.register_buffer("running_mean", torch.zeros(self.affine_shape()))
        self.register_buffer("running_var", torch.ones(self.affine_shape()))

    def values_per_channel(self, x: Tensor) -> int:
        """How many values a channel's statistics pool; raises BadInput below 2."""
        count = x.numel() // x.shape[1]
        if count < 2:
            raise BadInput(
                f"{type(self).__name__}{self.shape} needs at least 2 values a channel to take "
                f"statistics of; found features of shape {tuple(x.shape)}"
            )
        return count

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Per-channel mean and variance (C,) to standardize with; updates the averages."""
        if not self.training:
            return self.running_mean, self.running_var
        count = self.values_per_channel(x)
        var, mean = torch.var_mean(x, dim=pooled_axes(x), correction=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        return mean, var

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = self.moments(x)
        return per_channel(mean, x), per_channel(square_root(var + self.eps), x)


class BatchNorm(Fused, BatchStatistics):
    """``bn``: batch normalization."""

    def fused(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        if self.training:
            self.values_per_channel(x)
        mean, var, momentum = self.running_mean, self.running_var, self.momentum
        # Not F.batch_norm, which refuses eps = 0.
        return torch.batch_norm(
            x, weight, bias, mean, var, self.training, momentum, self.eps, False
        )


class BatchCentering(BatchStatistics):
    """``bn_center``: only subtract the batch mean."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, _ = super().statistics(x)
        return mean, x.new_ones(())


class BatchScaling(BatchStatistics):
    """``bn_scale``: only divide by the batch's standard deviation."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _, scale = super().statistics(x)
        return x.new_zeros(()), scale


class DetachedBatchNorm(BatchStatistics):
    """``bn_detached``: BN's forward pass with the statistics outside the graph."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = super().statistics(x)
        return mean.detach(), scale.detach()


class FrozenBatchNorm(BatchStatistics):
    """``bn_frozen``: statistics taken once from data (:func:`freeze_statistics`), then constant."""

    freezing = False

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.freezing:
            var, mean = torch.var_mean(x.detach(), dim=pooled_axes(x), correction=0)
            self.running_mean.copy_(mean)
            self.running_var.copy_(var)
        return self.running_mean, self.running_var


class LayerNorm(Fused):
    """``ln``: statistics of each sample over all its features, per-element affine."""

    def affine_shape(self) -> tuple[int, ...]:
        return self.shape

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        var, mean = torch.var_mean(x, dim=tuple(range(1, x.dim())), correction=0, keepdim=True)
        return mean, square_root(var + self.eps)

    def fused(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.layer_norm(x, self.shape, weight, bias, self.eps)


class GroupNorm(Fused):
    """``gn``: statistics of each sample over groups of channels.

    At most 8 groups, of four channels or more: a group of one feature standardizes to 0, one
    of two to +-1, whatever the features are.
    """

    def groups(self) -> int:
        channels = self.shape[0]
        most = max(1, min(8, channels // 4))
        return next(g for g in range(most, 0, -1) if channels % g == 0)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        var, mean = torch.var_mean(x.flatten(1).unflatten(1, (self.groups(), -1)), 2, correction=0)
        share = (x.shape[0], -1, *[1] * (x.dim() - 2))
        repeats = x.shape[1] // self.groups()
        mean, var = (v.repeat_interleave(repeats, 1).view(share) for v in (mean, var))
        return mean, square_root(var + self.eps)

    def fused(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.group_norm(x, self.groups(), weight, bias, self.eps)


class InstanceNorm(Fused):
    """``in``: statistics of each sample and channel over its positions; needs positions."""

    def __init__(self, shape: Sequence[int], eps: float = 1e-5) -> None:
        if len(shape) < 2:
            raise BadInput(f"norm 'in' needs features (C, *spatial) a sample; found {tuple(shape)}")
        super().__init__(shape, eps)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        var, mean = torch.var_mean(x, dim=tuple(range(2, x.dim())), correction=0, keepdim=True)
        return mean, square_root(var + self.eps)

    def fused(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.instance_norm(x, weight=weight, bias=bias, eps=self.eps)


NORMS: dict[str, type[Norm]] = {
    "none": NoNorm,
    "bn": BatchNorm,
    "ln": LayerNorm,
    "gn": GroupNorm,
    "in": InstanceNorm,
    "bn_center": BatchCentering,
    "bn_scale": BatchScaling,
    "bn_affine": AffineOnly,
    "bn_detached": DetachedBatchNorm,
    "bn_frozen": FrozenBatchNorm,
}


NormFactory = Callable[[Sequence[int]], Norm]
"""Shape of one sample's features -> the layer that normalizes them."""


def build_norm(name: str, shape: Sequence[int], eps: float = 1e-5) -> Norm:
    """The variant ``name`` for features of shape (n, *shape).

    Raises:
        BadInput: unknown name, or a variant that is not defined for this shape.
    """
    if name not in NORMS:
        raise unknown("norm", name, NORMS)
    return NORMS[name](shape, eps)


def freeze_statistics(model: nn.Module, x: Tensor) -> None:
    """Give every ``bn_frozen`` layer of ``model`` the statistics it sees on the inputs ``x``.

    Layers are frozen front to back in one forward pass; a model without such a layer is left
    as it is, untouched by the pass.
    """
    frozen = [m for m in model.modules() if isinstance(m, FrozenBatchNorm)]
    if not frozen:
        return
    try:
        for layer in frozen:
            layer.freezing = True
        with torch.no_grad():
            model(x)
    finally:
        for layer in frozen:
            layer.freezing = False
