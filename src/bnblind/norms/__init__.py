"""The normalization variants: each a file of its own, named as the configuration names it.

Every variant is ``z = weight * y + bias`` (affine phase) of ``y = (x - mean) / scale``
(standardization phase); variants differ in where mean and scale come from, and in what gradient
passes, so each is a few lines. To add one, put a file beside this one that has the name used in
the configuration (for a Python keyword, followed by ``_``) and holds one subclass of ``Norm``.
Where torch has the same arithmetic as one fused kernel, ``fused`` calls it, 2 to 4 times as fast.

This file imports no variant: who uses one variant depends on its file and on this one alone.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from bnblind.errors import BadInput, unknown
from bnblind.norm_facts import norm_files, norm_module
from bnblind.standardization import per_channel, pooled_axes, square_root


class Norm(nn.Module):
    """A normalization layer for features of shape (n, *shape).

    Facts about a variant, literals in its own class body (:mod:`bnblind.norm_facts` reads the
    first three there, without importing it):

    - ``within_sample``: statistics are taken of each sample by itself.
    - ``needs_positions``: defined for features (C, *spatial) only.
    - ``control``: not a norm in use, but isolates what in BN blocks.
    - ``centers_batch``: subtracts the batch mean of each channel in training mode.
    - ``affine_by_element``: weight and bias have one entry per feature, not one per channel.
    - ``blocks_as_bn``: in training mode its backward pass is BN's (T4), at least up to 1 / sigma.
    - ``couples_batch``: in training mode a sample's output or gradient depends on the others.

    Args:
        shape: shape of one sample's features, (D,) or (C, *spatial).
        eps: added to the variance, >= 0.
    """

    within_sample = False
    needs_positions = False
    control = False
    centers_batch = False
    affine_by_element = False
    blocks_as_bn = False
    couples_batch = False

    weight: Tensor
    bias: Tensor

    def __init__(self, shape: Sequence[int], eps: float = 1e-5) -> None:
        super().__init__()
        self.shape, self.eps = tuple(shape), eps
        self.weight = nn.Parameter(torch.ones(self.affine_shape()))
        self.bias = nn.Parameter(torch.zeros(self.affine_shape()))

    def affine_shape(self) -> tuple[int, ...]:
        return self.shape if self.affine_by_element else self.shape[:1]

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


class Identity(Norm):
    """The identity, without parameters; variants say what gradient passes."""

    def __init__(self, shape: Sequence[int], eps: float = 1e-5) -> None:
        nn.Module.__init__(self)
        self.shape, self.eps = tuple(shape), eps

    def standardize(self, x: Tensor) -> Tensor:
        return x

    def affine(self, y: Tensor) -> Tensor:
        return y


def with_gradient_of(value: Tensor, other: Tensor) -> Tensor:
    """``value``, bit for bit, with the derivatives of ``other``, which must be finite."""
    return value.detach() + (other - other.detach())


class Fused(Norm):
    """A norm whose two phases torch computes in one kernel; ``statistics`` says what it does."""

    @abstractmethod
    def fused(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Standardization phase, then affine phase unless weight and bias are None."""

    def standardize(self, x: Tensor) -> Tensor:
        return self.fused(x, None, None)

    def forward(self, x: Tensor) -> Tensor:
        return self.fused(x, self.weight, self.bias)


class StoredStatistics(Norm):
    """Statistics by channel, kept in buffers."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, shape: Sequence[int], eps: float = 1e-5) -> None:
        super().__init__(shape, eps)
        self.register_buffer("running_mean", torch.zeros(self.affine_shape()))
        self.register_buffer("running_var", torch.ones(self.affine_shape()))

    @abstractmethod
    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Per-channel mean and variance (C,) to standardize with; may update the buffers."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = self.moments(x)
        return per_channel(mean, x), per_channel(square_root(var + self.eps), x)


class BatchStatistics(StoredStatistics):
    """Statistics of the batch while training, running averages in evaluation mode.

    The running variance is the unbiased one and the momentum 0.1, as in torch.nn.BatchNorm.
    """

    momentum = 0.1
    couples_batch = True

    def values_per_channel(self, x: Tensor) -> int:
        """How many values per channel's statistics pool; raises BadInput below 2."""
        count = x.numel() // x.shape[1]
        if count < 2:
            raise BadInput(
                f"{type(self).__name__}{self.shape} needs at least 2 values per channel to take "
                f"statistics of; found features of shape {tuple(x.shape)}"
            )
        return count

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return self.running_mean, self.running_var
        count = self.values_per_channel(x)
        var, mean = torch.var_mean(x, dim=pooled_axes(x), correction=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        return mean, var


class RunningAverages(StoredStatistics):
    """Averages over the batches before, in any mode; in training a batch's own mean and biased
    variance enter them after it was standardized.
    """

    momentum = 0.01

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = self.running_mean.clone(), self.running_var.clone()
        if self.training:
            own_var, own_mean = torch.var_mean(x.detach(), dim=pooled_axes(x), correction=0)
            self.running_mean.lerp_(own_mean, self.momentum)
            self.running_var.lerp_(own_var, self.momentum)
        return mean, var


class FrozenStatistics(StoredStatistics):
    """Statistics taken once from data (:func:`freeze_statistics`), then constant in any mode."""

    seen: list[tuple[int, Tensor, Tensor]] | None = None
    """While it is being frozen: samples, mean and variance of each chunk so far."""

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.seen is not None:
            var, mean = torch.var_mean(x.detach(), dim=pooled_axes(x), correction=0)
            self.seen.append((len(x), mean, var))
            mean, var = _pooled(self.seen)
            self.running_mean.copy_(mean)
            self.running_var.copy_(var)
        return self.running_mean, self.running_var


def _pooled(chunks: Sequence[tuple[int, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and variance of all samples, from those of chunks of them."""
    if len(chunks) == 1:
        return chunks[0][1:]
    total = sum(count for count, _, _ in chunks)
    mean = torch.stack([count / total * own for count, own, _ in chunks]).sum(0)
    parts = [count / total * (var + (own - mean) ** 2) for count, own, var in chunks]
    return mean, torch.stack(parts).sum(0)


NormFactory = Callable[[Sequence[int]], Norm]
"""Shape of one sample's features -> the layer that normalizes them."""


def norm_names() -> list[str]:
    """The variants' names, from the files of this folder; imports none of them."""
    return list(norm_files())


def norm_class(name: str) -> type[Norm]:
    """The variant ``name``'s class; imports its file.

    Raises:
        BadInput: unknown name.
        LookupError: the file does not define exactly one subclass of ``Norm``.
    """
    if name not in norm_names():
        raise unknown("norm", name, norm_names())
    module = import_module(norm_module(name))
    own = [v for v in vars(module).values() if getattr(v, "__module__", "") == module.__name__]
    defined = [kind for kind in own if isinstance(kind, type) and issubclass(kind, Norm)]
    if len(defined) != 1:
        found = ", ".join(kind.__name__ for kind in defined) or "none"
        raise LookupError(f"{module.__file__} must define one subclass of Norm; found {found}")
    return defined[0]


def is_variant(layer: nn.Module) -> bool:
    """Whether the layer's class is a variant's own. A subclass elsewhere may do more."""
    return isinstance(layer, Norm) and type(layer).__module__.rpartition(".")[0] == __name__


def build_norm(name: str, shape: Sequence[int], eps: float = 1e-5) -> Norm:
    """The variant ``name`` for features of shape (n, *shape).

    Raises:
        BadInput: unknown name, or a variant that is not defined for this shape.

    Source: each variant's file in ``bnblind.norms`` names its own.

    >>> build_norm("ln", (8, 4, 4))
    LayerNorm((8, 4, 4), eps=1e-05)
    """
    return norm_class(name)(shape, eps)


def freeze_statistics(model: nn.Module, inputs: Tensor | Sequence[Tensor]) -> None:
    """Give every layer of ``model`` with frozen statistics those it sees on ``inputs``, a tensor
    or a sequence of chunks.

    Layers are frozen front to back: of one chunk in one forward pass, of several in as many for
    each layer, in the order in which the model has them. A model without such a layer is left as it
    is, untouched by the pass, and no chunk is read.
    """
    frozen = [m for m in model.modules() if isinstance(m, FrozenStatistics)]
    chunks = [inputs] if isinstance(inputs, Tensor) else inputs
    for group in [frozen] if len(chunks) == 1 and frozen else [[layer] for layer in frozen]:
        try:
            for layer in group:
                layer.seen = []
            with torch.no_grad():
                for x in chunks:
                    model(x)
        finally:
            for layer in group:
                layer.seen = None


def average_statistics(
    model: nn.Module, batches: Iterable[Tensor], kinds: Any = BatchStatistics
) -> None:
    """Make the running averages of all layers of some ``kinds`` plain means over these batches. The
    model goes through them in training mode and is left in it.
    """
    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, kinds)]
    momenta = [layer.momentum for layer in layers]
    model.train()
    with torch.no_grad():
        for number, batch in enumerate(batches if layers else (), 1):
            for layer in layers:
                layer.momentum = 1 / number
            model(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
