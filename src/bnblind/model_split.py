"""The Taylor split of a model's losses at one of its normalization layers."""

import copy
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnblind.coupling import coupled, couples, refuse_random
from bnblind.errors import BadInput, unknown
from bnblind.layers import (
    BatchLayer,
    Standardized,
    affine_phase,
    batch_statistics,
    normalization_layers,
    running_statistics,
    standardized,
)
from bnblind.losses import LossFunction, sample_loss
from bnblind.norms import BatchNorm, BatchStatistics
from bnblind.split import Split, assembled, check_options, isolated, split_batch
from bnblind.terms import Batch, rows_agree


class _Reached(Exception):
    """The analysed layer has been reached, and nothing behind it is of interest."""


@dataclass
class _Plan:
    """What a forward pass through the dissected model shall do, and what it has seen.

    Attributes:
        downstream: what to do with a layer behind the analysed one that couples samples.
        inject: (m, *S) normalized features to put in the analysed layer's place; None: take
            the layer's own, and remember them.
        seen: what the analysed layer did with the batch.
        passes: forward passes so far; ``calls``: of the analysed layer in the present one.
        unknown: names of coupling layers whose statistics are not known yet.
        frozen: names of layers behind the analysed one that were given running statistics.
    """

    downstream: str
    inject: Tensor | None = None
    seen: Standardized | None = None
    passes: int = 0
    calls: int = 0
    unknown: set[str] = field(default_factory=set)
    frozen: list[str] = field(default_factory=list)


class _Analysed(nn.Module):
    """Stands for the analysed layer: gives out the features that the plan wants there."""

    def __init__(self, name: str, layer: nn.Module, plan: _Plan) -> None:
        super().__init__()
        self.name, self.layer, self.plan = name, layer, plan

    def forward(self, x: Tensor) -> Tensor:
        plan = self.plan
        plan.calls += 1
        if plan.calls > 1:
            raise BadInput(
                f"layer {self.name!r} is called more than once in a forward pass; the split needs "
                "one place"
            )
        if plan.inject is not None:
            assert plan.seen is not None
            return plan.seen.affine(plan.inject)
        plan.seen = standardized(self.name, self.layer, x)
        if not plan.unknown:
            raise _Reached
        return plan.seen.affine(plan.seen.y.detach().requires_grad_().clone())


class _Constant(nn.Module):
    """Stands for another layer with batch statistics: they become constants, so that rows are
    independent. Those of the batch where the layer does not depend on the analysed one.
    """

    def __init__(self, name: str, layer: BatchLayer, plan: _Plan) -> None:
        super().__init__()
        self.name, self.layer, self.plan = name, layer, plan
        self.known: tuple[Tensor, Tensor] | None = None
        self.last_pass = 0
        if couples(layer):
            plan.unknown.add(name)

    def forward(self, x: Tensor) -> Tensor:
        if self.last_pass == self.plan.passes:
            raise BadInput(
                f"layer {self.name!r} is called more than once in a forward pass; the split cannot "
                "tell its statistics apart. Put it into evaluation mode"
            )
        self.last_pass = self.plan.passes
        if self.known is None:
            self.known = self._statistics(x)
            self.plan.unknown.discard(self.name)
        mean, scale = self.known
        return affine_phase(self.layer)((x - mean) / scale)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not couples(self.layer):
            return running_statistics(self.name, self.layer, x)
        if not x.requires_grad:  # only what comes from the analysed layer does
            return batch_statistics(self.layer, x)
        if self.plan.downstream == "refuse":
            raise BadInput(
                f"behind the analysed layer, {coupled(self.name, self.layer)}. To split the loss "
                "all the same, with that layer's running statistics: downstream='frozen'"
            )
        self.plan.frozen.append(self.name)
        return running_statistics(self.name, self.layer, x)


class _Dissected:
    """A copy of a model, cut open at one layer: normalized features in, outputs out."""

    def __init__(
        self, model: nn.Module, layer: str, x: Tensor, downstream: str, dtype: torch.dtype
    ) -> None:
        try:
            self.model = copy.deepcopy(model).requires_grad_(False).to(dtype)
        except RuntimeError as error:
            raise BadInput(f"the model cannot be copied: {error}") from error
        self.x = x.detach().to(dtype) if x.is_floating_point() else x
        self.plan = _Plan(downstream)
        self.narrow = False
        analysed = self.model.get_submodule(layer)
        stand_ins: dict[nn.Module, nn.Module] = {analysed: _Analysed(layer, analysed, self.plan)}
        for name, module in self.model.named_modules():
            if module is not analysed and isinstance(module, (_BatchNorm, BatchStatistics)):
                stand_ins[module] = _Constant(name, module, self.plan)
        for name, module in list(self.model.named_modules(remove_duplicate=False)):
            if module in stand_ins:
                self.model.set_submodule(name, stand_ins[module])

    def _run(self, x: Tensor, inject: Tensor | None) -> Tensor:
        self.plan.calls, self.plan.inject = 0, inject
        self.plan.passes += 1
        return self.model(x)

    def capture(self, layer: str) -> Standardized:
        """What the analysed layer does with the batch; the statistics of all others."""
        with suppress(_Reached):
            self._run(self.x, None)
        if self.plan.seen is None:
            raise BadInput(f"the model's forward pass does not call layer {layer!r}")
        return self.plan.seen

    def outputs(self, y: Tensor, samples: Tensor) -> Tensor:
        """(m, *S) features, the samples (m,) they belong to -> outputs (m, C)."""
        return self._run(self.x[:1] if self.narrow else self.x[samples], y)

    def is_shared(self, y0: Tensor) -> bool:
        """Whether the outputs depend on the features alone: no way leads around the layer.

        If so, the layers before it need not see more than one sample from now on.
        """
        differs = (self.x != self.x[:1]).flatten(1).any(1)
        other = int(differs.to(torch.uint8).argmax())
        pair = y0.repeat(2, *[1] * y0.dim())
        samples = torch.tensor([0, other], device=self.x.device)
        outputs = self.outputs(pair.clone(), samples)
        if not rows_agree(outputs[1:], outputs[:1]):
            return False
        try:
            alone = self._run(self.x[:1], pair)
        except RuntimeError:  # a model that reads the batch size off its input
            return True
        self.narrow = alone.shape == outputs.shape and rows_agree(alone, outputs[:1])
        return True


def split_loss(
    model: nn.Module,
    layer: str,
    x: Tensor,
    target: Tensor,
    *,
    y0: Tensor | str | None = "mean",
    hdiag: str | int = "auto",
    loss: str | LossFunction = "cross_entropy",
    downstream: str = "refuse",
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Split:
    """Split the losses of a batch at a normalization layer of a model.

    A copy of the model in ``dtype`` is cut open at the layer; the model itself stays bitwise as
    it is. The analysed layer, if it is batch norm, standardizes with the batch, whatever its
    mode; every other layer is taken in the mode it is in. Batch norms that do not depend on the
    analysed layer keep the statistics of the batch.

    Args:
        model: gives outputs (n, C) for ``x``.
        layer: dotted name of a BatchNorm, LayerNorm, RMSNorm, GroupNorm, InstanceNorm or a
            variant of :func:`bnblind.build_norm`. For all but batch norm, y is the layer's
            output before its affine phase, and its own backward pass carries the terms to the
            input.
        x: (n, ...) the batch; n >= 2 for batch norm of vectors.
        target: (n, ...).
        y0: ``"mean"``: the batch mean of y, exactly 0 for batch norm of vectors and one value a
            position for images; None: 0; or a tensor (*S).
        hdiag, loss, dtype, seed: as for :func:`bnblind.split_head`.
        downstream: what to do where a later layer takes statistics of the batch and so couples
            the samples: ``"refuse"`` raises and names it, ``"frozen"`` gives it its running
            statistics and says so in ``method``.

    Raises:
        BadInput: as :func:`bnblind.split_head`, and for a layer that is unknown, not reached,
            called twice or not a normalization layer.
    """
    check_options(hdiag, dtype)
    if downstream not in ("refuse", "frozen"):
        raise unknown("downstream", downstream, ("refuse", "frozen"))
    if layer not in dict(model.named_modules()):
        raise unknown("layer", layer, normalization_layers(model))
    refuse_random(model)
    with isolated():
        dissected = _Dissected(model, layer, x, downstream, dtype)
        seen = dissected.capture(layer)
        point = _expansion_point(y0, seen)
        batch = Batch(
            dissected.outputs,
            seen.y,
            point,
            target,
            sample_loss(loss),
            shared=dissected.is_shared(point),
        )
        terms, method, kinks = split_batch(batch, hdiag, seed)
    analysed = model.get_submodule(layer)
    if isinstance(analysed, (_BatchNorm, BatchNorm)) and not analysed.training:
        method += f"; {layer} is in evaluation mode, but standardized with the batch here"
    if dissected.plan.frozen:
        method += f"; with running statistics: {', '.join(dissected.plan.frozen)}"
    return assembled(batch, terms, method, kinks, seen.sigma, seen.carry)


def _expansion_point(y0: Tensor | str | None, seen: Standardized) -> Tensor:
    if isinstance(y0, str):
        if y0 != "mean":
            raise unknown("y0", y0, ("mean", "None", "a tensor"))
        return seen.center
    if y0 is None:
        return torch.zeros_like(seen.center)
    if y0.shape != seen.center.shape:
        raise BadInput(f"y0 must have shape {tuple(seen.center.shape)}; found {tuple(y0.shape)}")
    return y0.detach().to(seen.center)
