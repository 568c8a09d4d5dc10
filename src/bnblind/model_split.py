"""The Taylor split of a model's losses at one of its normalization layers."""

import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnblind.coupling import coupled, couples, refuse_random
from bnblind.errors import BadInput, unknown
from bnblind.layers import (
    BatchLayer,
    Standardized,
    agree,
    fix_batch_statistics,
    fix_running_statistics,
    normalization_layers,
    plain,
    require_module,
    require_own_forward,
    standardized,
)
from bnblind.losses import LossFunction, sample_loss
from bnblind.norms.bn import BatchNorm
from bnblind.split import (
    Split,
    assembled,
    call_alone,
    check_options,
    check_targets,
    check_tensors,
    isolated,
    split_batch,
)
from bnblind.terms import Batch, RowsDiffer, back, call, rows_agree


@dataclass
class _Plan:
    """What a forward pass through the dissected model is to do, and what it has seen.

    Attributes:
        downstream: what to do with a layer after the analysed one that couples samples.
        inject: (m, *S) normalized features to put in the analysed layer's place; None: take
            the layer's own, and remember them.
        seen: what the analysed layer did with the batch.
        leaf: the normalized features that the outputs were then computed from.
        called: layers called so far in the present pass.
        fixed: coupling layers whose statistics have been made constants.
        frozen: those of them, after the analysed one, that have running statistics.
    """

    downstream: str
    inject: Tensor | None = None
    seen: Standardized | None = None
    leaf: Tensor | None = None
    called: list[str] = field(default_factory=list)
    fixed: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)


@dataclass
class _Analysed:
    """The analysed layer's forward pass: gives out the features that the plan wants there.

    ``checked``: its class may do more than the two phases, which a call then shows.
    """

    name: str
    layer: nn.Module
    plan: _Plan
    checked: bool

    def __call__(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        (x,) = (*args, *kwargs.values())
        plan = self.plan
        if self.name in plan.called:
            raise BadInput(
                f"layer {self.name!r} is called more than once in a forward pass (or again in "
                "activation checkpointing); the split needs one place"
            )
        plan.called.append(self.name)
        if plan.inject is not None:
            assert plan.seen is not None
            return plan.seen.affine(plan.inject)
        plan.seen = standardized(self.name, self.layer, x)
        plan.leaf = plan.seen.y.detach().requires_grad_(torch.is_grad_enabled())
        if self.checked:
            self._check(x, plan.seen)
        return plan.seen.affine(plan.leaf.clone())

    def _check(self, x: Tensor, seen: Standardized) -> None:
        """Raise BadInput if the layer's own forward pass is not that of its two phases."""
        layer = self.layer.train() if isinstance(self.layer, _BatchNorm) else self.layer
        with torch.no_grad():
            own = type(layer).forward(layer, x)
            try:
                z = seen.affine(seen.y.clone())
            except RuntimeError:  # its class arranges the features in another way
                z = own.new_empty(0)
        if not agree(z, own):
            raise BadInput(
                f"layer {self.name!r} ({type(layer).__name__}) does more than a normalization's "
                "two phases; take its normalized features y and call split_head"
            )


@dataclass
class _Coupling:
    """Before another layer with batch statistics is called: make them constants, so that rows
    are independent. Those of the batch where the layer does not depend on the analysed one.
    """

    name: str
    plan: _Plan

    def __call__(
        self, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]
    ) -> None:
        assert isinstance(layer, BatchLayer)
        if not couples(layer):
            if self.name in self.plan.fixed and self.name in self.plan.called:
                raise BadInput(
                    f"layer {self.name!r} is called more than once in a forward pass; the split "
                    "cannot tell its statistics apart. Put it into evaluation mode"
                )
            self.plan.called.append(self.name)
            return
        (x,) = (*args, *kwargs.values())
        self.plan.called.append(self.name)
        self.plan.fixed.append(self.name)
        if not x.requires_grad:  # only what comes from the analysed layer does
            fix_batch_statistics(layer, x)
        elif self.plan.downstream == "refuse":
            raise BadInput(
                f"after the analysed layer, {coupled(self.name, layer)}. To split the loss "
                "all the same, with that layer's running statistics: downstream='frozen'"
            )
        else:
            fix_running_statistics(self.name, layer)
            self.plan.frozen.append(self.name)


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
        self.shared = self.feeds_two_samples = False
        analysed = self.model.get_submodule(layer)
        require_own_forward(repr(layer), analysed)
        for name, module in self.model.named_modules():
            if module is not analysed and isinstance(module, BatchLayer) and couples(module):
                module.register_forward_pre_hook(_Coupling(name, self.plan), with_kwargs=True)
        # Its attributes stay, for models that look at them.
        analysed.forward = _Analysed(layer, analysed, self.plan, not plain(analysed))

    def _run(self, x: Tensor, inject: Tensor | None) -> Tensor:
        self.plan.called.clear()
        self.plan.inject = inject
        return self.model(x)

    def capture(self, layer: str) -> tuple[Standardized, Tensor]:
        """What the analysed layer does with the batch, and the batch's outputs (n, C), which can
        be differentiated with respect to the plan's leaf.
        """
        # Gradients also tell which layers depend on the analysed one.
        outputs = call(lambda x, _: self._run(x, None), self.x.clone(), self.x)
        if self.plan.seen is None:
            raise BadInput(f"the model's forward pass does not call layer {layer!r}")
        return self.plan.seen, outputs

    def again(self) -> Tensor:
        """One more forward pass of the batch."""
        return self._run(self.x.clone(), None)

    def head(self, y: Tensor, samples: Tensor) -> Tensor:
        """(m, *S) features, the samples (m,) they belong to -> outputs (m, C)."""
        if self.feeds_two_samples:
            return self._run(self.x[:2].clone(), y)
        # If the head is shared, any sample will do; always the first shows it if it is not.
        return self._run(self.x[torch.zeros_like(samples) if self.shared else samples], y)

    def first_alone(self, y: Tensor, y0: Tensor) -> Tensor:
        """As :func:`bnblind.split.first_alone`, and whether another sample has the same outputs at
        ``y0``: if so, no way seems to lead around the layer (``shared``), and the layers before it
        need not see more than two samples from now on, where the model allows that.
        """
        differs = (self.x != self.x[:1]).reshape(len(self.x), -1).any(1)
        other = int(differs.to(torch.uint8).argmax())
        samples = torch.tensor([0, 0, other], device=self.x.device)
        points = torch.stack([y[0], y0, y0])
        outputs = call_alone(self.head, y, points.clone(), samples)
        alone = outputs[:2]
        if rows_agree(outputs[2:], alone[1:]):
            self.shared = self.feeds_two_samples = True
            try:
                with torch.no_grad():
                    found = call(self.head, points, samples)
                self.feeds_two_samples = rows_agree(found[:2], alone)
            except (BadInput, RuntimeError):  # a model that reads the batch size off its input
                self.feeds_two_samples = False
        return alone


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
    it is. The analysed layer, if it is batch norm, standardizes with the batch in either
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

    Source: docs/theory.md; the terms are those of arXiv:2205.15146, section 3.

    >>> model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    >>> split = split_loss(model, "1", torch.randn(8, 5), torch.zeros(8, dtype=torch.long))
    >>> bool(split.gram_x[0, 0] < 1e-20)  # T1: nothing of the first-order term passes
    True
    """
    check_options(hdiag, dtype)
    check_tensors(x=x, target=target)
    require_module(model)
    if downstream not in ("refuse", "frozen"):
        raise unknown("downstream", downstream, ("refuse", "frozen"))
    if hasattr(model, "_orig_mod"):
        raise BadInput(
            "the model is compiled, and a compiled model cannot be cut open; pass the original, "
            "model._orig_mod"
        )
    if layer not in {name for name, _ in model.named_modules() if name}:
        raise unknown("layer", layer, normalization_layers(model))
    refuse_random(model)
    dissected = _Dissected(model, layer, x, downstream, dtype)
    with isolated(dissected.model, dissected.again):
        seen, outputs = dissected.capture(layer)
        if len(seen.y) != len(outputs):
            raise BadInput(
                f"layer {layer!r} is given {len(seen.y)} rows of features for {len(outputs)} "
                "samples (tokens or patches as rows of a batch); the split needs one row a sample"
            )
        check_targets(target, seen.y)
        point = _expansion_point(y0, seen)
        losses, alone = sample_loss(loss), dissected.first_alone(seen.y, point)
        total, shared = None, dissected.shared
        if not shared:
            assert dissected.plan.leaf is not None
            (total,) = back(outputs, [dissected.plan.leaf], losses.slope(outputs, target))
        outputs = outputs.detach()
        batch = Batch(dissected.head, seen.y, point, target, losses, shared, outputs, total)
        try:
            terms, method, kinks = split_batch(batch, alone, hdiag, seed)
        except RowsDiffer:
            if not batch.shared:
                raise
            # Two samples agreed at the point, the whole batch does not: a way leads around.
            dissected.shared = dissected.feeds_two_samples = False
            batch = replace(batch, shared=False)
            terms, method, kinks = split_batch(batch, alone, hdiag, seed)
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
    check_tensors(y0=y0)
    if y0.shape != seen.center.shape:
        raise BadInput(f"y0 must have shape {tuple(seen.center.shape)}; found {tuple(y0.shape)}")
    return y0.detach().to(seen.center, copy=True)
