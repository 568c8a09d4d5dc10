"""The Taylor terms of any twice differentiable head.

The second order by a Hessian-vector product per sample. Its diagonal, for each distinct target,
unit by unit where the head is seen to bend nowhere else (curved.py), else by D products; or from
random ones (Hutchinson 1990; Bekas et al. 2007).
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bnblind.curved import ROWS, WRITTEN_OUT, Curvature
from bnblind.errors import BadInput
from bnblind.pacing import paced
from bnblind.standardization import square_root
from bnblind.terms import (
    DIAGONAL,
    Batch,
    Terms,
    by_sample,
    call,
    derivative,
    total_gradient,
)


class WrittenOut(TorchFunctionMode):
    """While active, the functions of ``WRITTEN_OUT`` are computed in their other form."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        written = WRITTEN_OUT.get(getattr(func, "__name__", ""))
        if written is None:
            return func(*args, **kwargs)
        return written(*args or (kwargs.pop("input"),), **kwargs)


def hessian_products(
    batch: Batch, samples: Tensor, target: Tensor, directions: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian times ``directions`` (m, D) of each row's loss at the point.

    Backward twice through m rows; exact wherever torch's derivatives are.

    Raises:
        BadInput: torch has no second derivative of a function in the head.
    """
    point = batch.at_point(len(directions))
    with WrittenOut():
        loss = batch.loss.value(call(batch.head, point.clone(), samples), target)
    gradient = derivative(loss, point, create_graph=True).flatten(1)
    try:
        product = derivative(gradient * directions, point).flatten(1)
    except RuntimeError as error:
        if "not implemented" not in str(error):
            raise
        raise BadInput(
            f"torch has no second derivative of a function in the head: {error}. Write the "
            "function out in others that have one"
        ) from error
    return gradient.detach(), product


def exact_terms(
    batch: Batch, hdiag: str | int, most_seconds: float | None, generator: torch.Generator
) -> tuple[Terms, str]:
    """Any head, and how it was computed.

    Args:
        hdiag: ``"none"`` leaves the diagonal out, as NaN; a number is one of random vectors
            (Hutchinson); else the diagonal is exact.

    Raises:
        BadInput: the diagonal would take longer than ``most_seconds``.
    """
    total = total_gradient(batch)
    first, second = hessian_products(batch, batch.samples(), batch.target, batch.step)
    if batch.shared:
        targets, which = batch.distinct()
        samples = torch.zeros_like(which[: len(targets)])
    else:
        targets, samples = batch.target, batch.samples()
        which = samples
    se: Tensor | None = None
    if hdiag == "none":
        method = "whole second order, without the diagonal"
        hdiags = first.new_full((1, first.shape[1]), torch.nan)
    elif isinstance(hdiag, int):
        method = f"Hutchinson: {hdiag} probes for the diagonal"
        hdiags, errors = _estimated_diagonals(batch, samples, targets, hdiag, generator)
        se = by_sample(errors, which)
    elif rule := _rule(batch, samples, targets, generator):
        method, hdiags = "exact: unit by unit", rule.diagonals(most_seconds)
    else:
        method = "exact: Hessian-vector products"
        hdiags = _diagonals(batch, samples, targets, most_seconds)
    return Terms(total.flatten(1), first, second, by_sample(hdiags, which), se), method


def _rule(
    batch: Batch, samples: Tensor, targets: Tensor, generator: torch.Generator
) -> Curvature | None:
    """The curvature unit by unit; None unless it is all there is, as a product shows."""
    try:
        rule = Curvature(batch, targets, generator)
    except RuntimeError:  # a function without second derivatives, which the products name
        return None
    found, size = (v.flatten() for v in rule.along_direction)
    each = rule.direction.expand(-1, len(targets) // rule.heads, -1).flatten(0, 1)
    _, products = hessian_products(batch, samples, targets, each)
    gap = found - (products * each).sum(1)
    rounding = 1e4 * torch.finfo(gap.dtype).eps
    return rule if bool((gap.abs() <= rounding * size).all()) else None


def _rows_at_once(batch: Batch) -> int:
    """Rows that need about as much memory as the batch, or as 4 million features."""
    return max(len(batch.y), 2**22 // batch.y0.numel())


def _diagonals(
    batch: Batch, samples: Tensor, targets: Tensor, most_seconds: float | None
) -> Tensor:
    """(L, D): the Hessian's diagonal for each pair of sample and target, D products each."""
    D = batch.y0.numel()
    found = []
    # So few at once that the first piece soon tells how long all will take.
    at_once = max(len(batch.y), ROWS)
    pieces = torch.arange(len(targets) * D, device=samples.device).split(at_once)
    for rows in paced(pieces, DIAGONAL, most_seconds):
        group, entry = rows // D, (rows % D)[:, None]
        units = batch.y0.new_zeros(len(rows), D).scatter_(1, entry, 1)
        _, products = hessian_products(batch, samples[group], targets[group], units)
        found.append(products.gather(1, entry).squeeze(1))
    return torch.cat(found).view(len(targets), D)


def _estimated_diagonals(
    batch: Batch, samples: Tensor, targets: Tensor, probes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(L, D) Hutchinson estimates of the diagonals, and their standard errors."""
    L, D = len(targets), batch.y0.numel()
    mean, spread = batch.y0.new_zeros(L, D), batch.y0.new_zeros(L, D)
    at_once = max(1, _rows_at_once(batch) // L)
    for done in paced(range(0, probes, at_once), "the probes of the Hessian's diagonal"):
        new = min(at_once, probes - done)
        signs = 2.0 * torch.randint(2, (new * L, D), generator=generator) - 1
        signs = signs.to(batch.y0)
        _, products = hessian_products(
            batch, samples.repeat(new), targets.repeat(new, *[1] * (targets.dim() - 1)), signs
        )
        estimates = (signs * products).view(new, L, D)
        # Means and squared deviations of the old and the new probes joined (Chan et al. 1979).
        var, new_mean = torch.var_mean(estimates, 0, correction=0)
        gap = new_mean - mean
        mean = mean + gap * (new / (done + new))
        spread = spread + new * var + gap.square() * (done * new / (done + new))
    return mean, square_root(spread / (probes * (probes - 1)))
