"""The Taylor terms of a batch's losses at one point, as gradients; three ways to compute them.

- ``fused_terms``: for a head that is piecewise linear and the same for every sample. With J the
  Jacobian (C, D) of the outputs at the point, a loss's gradient is ``J' slope`` and its Hessian
  ``J' A J``, ``A`` (C, C) the loss's own curvature. J rides along as C more rows of the batch, so
  that one forward and one backward pass give the total gradient and J; the rest are products
  with C rows. No second derivative, no D x D matrix; memory O((n + C) D).
- ``row_by_row_terms``: the same where the head differs from sample to sample (a skip connection
  around the layer): C - 1 backward passes with cross-entropy, whose curvature has that rank.
- ``exact_terms`` (exact.py): any twice differentiable head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bnblind.errors import BadInput
from bnblind.losses import SampleLoss
from bnblind.pacing import paced

NOT_FINITE = "the outputs at the expansion point must be finite; found NaN or infinity"

DIAGONAL = "the diagonal of the Hessian"
"""What takes its time."""

Head = Callable[[Tensor, Tensor], Tensor]
"""Features (m, *S) and the samples (m,) that they belong to -> outputs (m, C), row by row.

It may write into the features that it is given: never hand it a tensor that is still needed.
"""


class RowsDiffer(BadInput):
    """The outputs of a sample depend on what else is in the batch, or on which sample it is."""


@dataclass(frozen=True)
class Batch:
    """What is to be split.

    Attributes:
        head: from the features to the outputs.
        y: (n, *S) features.
        y0: (*S) the expansion point.
        target: (n, ...).
        loss: of the outputs of one sample.
        shared: whether the head ignores which sample a row belongs to.
        known: (k, C) outputs of the first k samples, got in another way.
        total: (n, *S) gradient of the samples' losses, where it is known.
    """

    head: Head
    y: Tensor
    y0: Tensor
    target: Tensor
    loss: SampleLoss
    shared: bool
    known: Tensor
    total: Tensor | None = None

    @cached_property
    def step(self) -> Tensor:
        """(n, D): how far each sample is from the point."""
        return (self.y - self.y0).flatten(1)

    def at_point(self, rows: int) -> Tensor:
        """(rows, *S): the point repeated, ready to be differentiated."""
        return self.y0.repeat(rows, *[1] * self.y0.dim()).requires_grad_()

    def samples(self) -> Tensor:
        return torch.arange(len(self.y), device=self.y.device)

    def distinct(self) -> tuple[Tensor, Tensor]:
        """Distinct targets (L, ...), and for each sample which of them it has (n,)."""
        if bool((self.target == self.target[:1]).all()):
            return self.target[:1], torch.zeros_like(self.samples())
        targets, which = self.target.unique(dim=0, return_inverse=True)
        return targets, which

    def checked(self, outputs: Tensor) -> Tensor:
        """Outputs (n, C) of the whole batch.

        Raises:
            RowsDiffer: they are not the known ones.
            BadInput: they are not finite.
        """
        finite = outputs.detach().isfinite().all(1)
        if not bool(finite.all()):
            row = int(finite.to(torch.uint8).argmin())
            raise BadInput(f"the outputs must be finite; found NaN or infinity for sample {row}")
        check_rows(outputs[: len(self.known)].detach(), self.known)
        return outputs


def call(head: Head, rows: Tensor, samples: Tensor) -> Tensor:
    """The outputs (m, C) of a head; raises BadInput if they have another shape, or the head does
    not take so many rows.
    """
    try:
        outputs = head(rows, samples)
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(
            f"the head does not take a batch of {len(samples)} rows: {error}. The split needs rows "
            "that are independent; batch statistics in training mode couple them"
        ) from error
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != len(samples):
        is_tensor = isinstance(outputs, Tensor)
        found = tuple(outputs.shape) if is_tensor else type(outputs).__name__
        hint = "" if is_tensor else "; wrap the model in one that returns that tensor alone"
        raise BadInput(
            f"{len(samples)} rows of features must give outputs of shape ({len(samples)}, C); "
            f"found {found}{hint}"
        )
    return outputs


def back(
    z: Tensor, places: Sequence[Tensor], slopes: Tensor | None = None, **how: bool
) -> Sequence[Tensor]:
    """Gradients of ``(z * slopes).sum()``, or of a number ``z``; zero where it depends on none."""
    if not z.requires_grad:
        return [torch.zeros_like(place) for place in places]
    return torch.autograd.grad(z, places, slopes, materialize_grads=True, **how)


@dataclass(frozen=True)
class Terms:
    """Gradients with respect to y, (n, D), ``second`` that of the whole second order; ``hdiag``
    (D,) or (n, D), ``hdiag_se`` or None.
    """

    total: Tensor
    first: Tensor
    second: Tensor
    hdiag: Tensor
    hdiag_se: Tensor | None = None


def rows_agree(found: Tensor, known: Tensor) -> bool:
    """Whether two tensors of rows are the same, up to the rounding of their dtype."""
    tolerance = 1e-11 if found.dtype == torch.float64 else 1e-4
    return bool((found - known).abs().max() <= tolerance * known.abs().max())


def check_rows(found: Tensor, known: Tensor) -> None:
    """Raise RowsDiffer unless ``found`` (m, C) are the rows ``known``, (m, C) or (1, C)."""
    if not rows_agree(found, known):
        gap = (found - known).abs().max().item()
        raise RowsDiffer(
            f"the same features gave other outputs in another batch, by up to {gap:.1e}: "
            "the head couples the samples of a batch, or is random. The split needs independent "
            "rows: put such a layer (batch statistics in training mode, dropout) into evaluation "
            "mode; where samples are coupled only `blocked` is defined"
        )


def _square_form(weights: Tensor, B: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """For H = B' diag(weights) B with B (K, D): the rows H step (m, D), and diag H (D,)."""
    return ((step @ B.T) * weights) @ B, weights @ B.square()


def forward_at_point(batch: Batch, alone: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Outputs of a pass that can be differentiated, and the features that it starts from.

    For a shared head the whole batch, then C copies of the point; else the point for each sample.

    Args:
        alone: (1, C) outputs of the point, with the first sample's head, in another batch.

    Raises:
        RowsDiffer: the outputs are not those of other batches.
        BadInput: they are not finite.
    """
    n, C = len(batch.y), alone.shape[1]
    if batch.shared:
        y, point = batch.y.detach().requires_grad_(), batch.at_point(C)
        samples = torch.cat([batch.samples(), batch.samples().new_zeros(C)])
        z = call(batch.head, torch.cat([y, point]), samples)
        batch.checked(z[:n])
        at_point, same, leaves = z[n:].detach(), C, [y, point]
    else:
        point = batch.at_point(n)
        z = call(batch.head, point.clone(), batch.samples())
        at_point, same, leaves = z.detach(), 1, [point]
    if not bool(at_point.isfinite().all()):
        raise BadInput(NOT_FINITE)
    check_rows(at_point[:same], alone)
    return z, leaves


def fused_terms(batch: Batch, z: Tensor, leaves: list[Tensor]) -> Terms:
    """Piecewise linear, shared head, from ``forward_at_point``."""
    n, C = len(batch.y), z.shape[1]
    alone = z[n : n + 1].detach()
    identity = torch.eye(C, dtype=z.dtype, device=z.device)
    slopes = torch.cat([batch.loss.slope(z[:n], batch.target), identity])
    total, J = back(z, leaves, slopes)
    J = J.flatten(1)

    targets, which = batch.distinct()
    everywhere = alone.expand(len(targets), C)
    first = (batch.loss.slope(everywhere, targets) @ J)[which]
    if batch.loss.same_curvature:
        weights, directions = batch.loss.curvature(alone, targets[:1])
        second, hdiag = _square_form(weights[0], directions[0] @ J, batch.step)
        return Terms(total.flatten(1), first, second, hdiag)
    weights, directions = batch.loss.curvature(everywhere, targets)
    second, hdiags = torch.empty_like(first), torch.empty_like(J[:1].expand(len(targets), -1))
    for group, (weight, direction) in enumerate(zip(weights, directions, strict=True)):
        rows = which == group
        second[rows], hdiags[group] = _square_form(weight, direction @ J, batch.step[rows])
    return Terms(total.flatten(1), first, second, by_sample(hdiags, which))


def by_sample(groups: Tensor, which: Tensor) -> Tensor:
    """(L, D) -> (n, D), or (D,) where all samples are of one group."""
    return groups[0] if len(groups) == 1 else groups[which]


def row_by_row_terms(
    batch: Batch, z: Tensor, leaves: list[Tensor], most_seconds: float | None
) -> Terms:
    """Piecewise linear head that differs from sample to sample, from ``forward_at_point``.

    Raises:
        BadInput: it would take longer than ``most_seconds``.
    """
    weights, along, direction = batch.loss.squares(z, batch.target)
    total, step = total_gradient(batch), batch.step
    first, second, hdiag = (torch.zeros_like(step) for _ in range(3))
    for k in paced(range(weights.shape[1]), DIAGONAL, most_seconds):
        B = back(z, leaves, direction(k), retain_graph=True)[0].flatten(1)
        first.addcmul_(along[:, k, None], B)
        weighted = weights[:, k, None] * B
        second.addcmul_(weighted, (B * step).sum(1, keepdim=True))
        hdiag.addcmul_(weighted, B)
    return Terms(total.flatten(1), first, second, hdiag)


def total_gradient(batch: Batch) -> Tensor:
    """Gradient of the samples' losses, (n, *S)."""
    if batch.total is not None:
        batch.checked(batch.known)
        return batch.total
    y = batch.y.detach().requires_grad_()
    z = batch.checked(call(batch.head, y.clone(), batch.samples()))
    return back(z, [y], batch.loss.slope(z, batch.target))[0]


def derivative(value: Tensor, point: Tensor, *, create_graph: bool = False) -> Tensor:
    """Gradient of a sum, zero where it does not depend on ``point``."""
    return back(value.sum(), [point], create_graph=create_graph)[0]


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Random numbers of that shape, the same ones on every device."""
    return torch.randn(like.shape, generator=generator).to(like)
