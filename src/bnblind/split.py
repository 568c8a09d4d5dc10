"""The Taylor split of a batch's losses at its standardized features.

``l(y) = l(y0) + first + diag + offdiag + remainder``, each as a gradient; see docs/theory.md.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bnblind.coupling import drawing_layer, drawn_since, generator_states, refuse_coupled
from bnblind.errors import BadInput
from bnblind.exact import exact_terms
from bnblind.inspection import Inspection, inspect, kinks_in_passing, surely_piecewise_linear
from bnblind.losses import LossFunction, sample_loss
from bnblind.standardization import bn_backward
from bnblind.terms import (
    NOT_FINITE,
    Batch,
    Head,
    Terms,
    back,
    call,
    check_rows,
    forward_at_point,
    fused_terms,
    row_by_row_terms,
)

MOST_SECONDS = 120.0
"""What ``hdiag="auto"`` spends on a curved head's diagonal without being asked."""

AROUND = "a path leads around the layer, as a skip connection does"

PARTS = ("first", "diag", "offdiag", "remainder", "total")
"""What a split consists of, in the order of the rows and columns of its Gram matrices."""


@dataclass(frozen=True, repr=False)
class Split:
    """The gradients of a batch's losses, term by term of their Taylor expansion at ``y0``; made by
    :func:`split_head` and :func:`split_loss`.

    ``first``, ``diag``, ``offdiag``, ``second``, ``remainder`` and ``total`` have the shape
    (n, *S) of ``y``; row i is the gradient of the i-th sample's loss (their sum, no mean) with
    respect to y_i.
    ``total`` is the plain gradient; ``first``, ``second`` and ``remainder`` add to it, and
    ``diag`` and ``offdiag`` to ``second``. Terms cancel: compare them by
    ``gram_y`` and ``gram_x`` (norms and cosines), never by norms alone.

    Attributes:
        y: (n, *S) normalized features, before the affine phase.
        sigma: what the layer divided by: (C,) for batch norm, else broadcastable to ``y``; None
            if unknown.
        y0: (*S) the expansion point.
        hdiag: diagonal of the Hessian at ``y0``: (*S), or (n, *S) where samples differ in it.
        hdiag_se: its standard error where it was estimated (Hutchinson), else None.
        second: the whole second-order term.
        method: how the terms were computed, and on what terms.
        kinks: units of the head whose derivative is undefined at ``y0`` (a ReLU at 0, a tie in
            a max-pool). If there are any, so are the terms: draw no conclusion. Kinks that a
            function makes out of a comparison (a mask) are not seen.
        carry: takes a gradient with respect to ``y`` to the layer's input; None if unknown.

    >>> head, y = nn.Linear(5, 3), torch.randn(8, 5, dtype=torch.float64)
    >>> split = split_head(head, y, torch.zeros(8, dtype=torch.long))
    >>> bool((split.first + split.second + split.remainder - split.total).abs().max() < 1e-14)
    True

    Source: docs/theory.md; arXiv:2205.15146, section 3.
    """

    y: Tensor
    sigma: Tensor | None
    y0: Tensor
    first: Tensor
    diag: Tensor
    offdiag: Tensor
    second: Tensor
    remainder: Tensor
    total: Tensor
    hdiag: Tensor
    hdiag_se: Tensor | None
    method: str
    kinks: int
    carry: Callable[[Tensor], Tensor] | None

    @property
    def undefined(self) -> bool:
        """Whether ``y0`` is known to lie on a kink of the head."""
        return bool(self.kinks)

    @cached_property
    def gram_y(self) -> Tensor:
        """(5, 5) float64: inner products of first, diag, offdiag, remainder and total."""
        return gram([getattr(self, part) for part in PARTS])

    @cached_property
    def gram_x(self) -> Tensor | None:
        """The same after the layer's own backward pass, at its input; None if unknown."""
        if self.carry is None:
            return None
        return gram([self.carry(getattr(self, part)) for part in PARTS])

    def __repr__(self) -> str:
        undefined = f", undefined: {self.kinks} kinks" if self.undefined else ""
        return f"Split(y of shape {tuple(self.y.shape)}, {self.method}{undefined})"


def gram(tensors: list[Tensor]) -> Tensor:
    """Inner products of tensors of one shape, float64."""
    flat = [tensor.detach().flatten().double() for tensor in tensors]
    rows = [[torch.dot(a, b) for b in flat] for a in flat]
    return torch.stack([torch.stack(row) for row in rows])


def split_head(
    head: Callable[[Tensor], Tensor],
    y: Tensor,
    target: Tensor,
    y0: Tensor | None = None,
    *,
    sigma: Tensor | None = None,
    hdiag: str | int = "auto",
    loss: str | LossFunction = "cross_entropy",
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Split:
    """Split the losses of a batch at its standardized features.

    Args:
        head: (m, *S) -> (m, C), from standardized features to outputs, rows independent; it
            includes the layer's affine phase. A module of another dtype is copied; the module
            itself stays bitwise as it is.
        y: (n, *S) standardized features, floating point.
        target: (n, ...) what the loss compares the outputs with.
        y0: (*S) the expansion point; None is 0.
        sigma: (C,) as :func:`bnblind.standardize` gave it; needed for ``gram_x`` only.
        hdiag: ``"auto"``: fused if the head is seen to be piecewise linear at ``y0``, else
            exact, and refused if the diagonal would take more than two minutes; ``"exact"``:
            however long it takes; an integer >= 2: so many Hutchinson probes (from about 8 on,
            two standard errors cover the true value in 9 of 10 cases); ``"none"``: the
            diagonal, and with it ``diag`` and ``offdiag``, is NaN, and ``second`` costs no
            more with many features or classes.
        loss: ``"cross_entropy"``, ``"mse"`` (mean over the outputs), ``"gaussian_nll"``
            (unit variance; with target 0 the likelihood of a flow's latents), or any callable
            (outputs (m, C), targets (m, ...)) -> (m,).
        dtype: of the computation, float64 or float32.
        seed: of the guard's direction and of the probes.

    Raises:
        BadInput: shapes or names that do not fit, outputs that are not finite at ``y0``, rows
            that are not independent, a layer in training mode that couples samples or is random.

    Source: docs/theory.md; the terms are those of arXiv:2205.15146, section 3.

    >>> from bnblind import standardize
    >>> y, sigma = standardize(torch.randn(8, 5, dtype=torch.float64))
    >>> split = split_head(nn.Linear(5, 3), y, torch.zeros(8, dtype=torch.long), sigma=sigma)
    >>> split.method
    'fused: head seen to be piecewise linear'
    >>> bool(split.gram_x[0, 0] < 1e-20)  # T1: nothing of the first-order term passes
    True
    """
    check_options(hdiag, dtype)
    check_tensors(y=y, target=target)
    if y.dim() < 2 or not y.is_floating_point():
        raise BadInput(
            f"y must be floating point of shape (n, *S); found {y.dtype} of shape {tuple(y.shape)}"
        )
    if not len(y):
        raise BadInput("the split needs at least one sample; found none")
    check_tensors(**{name: v for name, v in (("y0", y0), ("sigma", sigma)) if v is not None})
    if isinstance(head, nn.Module):
        refuse_coupled(head)
    # Copies, so that what the caller does to the originals later changes nothing here.
    y = y.detach().to(dtype, copy=True)
    y0 = torch.zeros_like(y[0]) if y0 is None else y0.detach().to(y, copy=True)
    if y0.shape != y.shape[1:]:
        raise BadInput(f"y0 must have shape {tuple(y.shape[1:])}; found {tuple(y0.shape)}")
    carry = None
    if sigma is not None:
        sigma = sigma.detach().to(y, copy=True)
        if sigma.shape != y.shape[1:2]:
            raise BadInput(
                f"sigma must have shape {tuple(y.shape[1:2])}; found {tuple(sigma.shape)}"
            )
        carry = partial(bn_backward, y=y, sigma=sigma)
    with undisturbed(head, dtype) as own, isolated(own, lambda: own(y[:2].clone())):

        def on_rows(rows: Tensor, samples: Tensor) -> Tensor:
            return own(rows)

        check_targets(target, y)
        alone = first_alone(on_rows, y, y0)
        batch = Batch(on_rows, y, y0, target, sample_loss(loss), shared=True, known=alone[:1])
        return assembled(batch, *split_batch(batch, alone, hdiag, seed), sigma, carry)


def check_options(hdiag: str | int, dtype: torch.dtype) -> None:
    """Raise BadInput for options that are not allowed."""
    probes = isinstance(hdiag, int) and not isinstance(hdiag, bool) and hdiag >= 2
    if hdiag not in ("auto", "exact", "none") and not probes:
        raise BadInput(
            f"hdiag {hdiag!r} is unknown; allowed: 'auto', 'exact', 'none', or a number of "
            "Hutchinson probes >= 2"
        )
    if dtype not in (torch.float64, torch.float32):
        raise BadInput(f"dtype {dtype} is not allowed; allowed: torch.float64, torch.float32")


def check_tensors(**arguments: object) -> None:
    """Raise BadInput for an argument that is not a tensor."""
    for name, found in arguments.items():
        if not isinstance(found, Tensor):
            raise BadInput(f"{name} must be a torch.Tensor; found {type(found).__name__}")


@contextmanager
def isolated(model: object, forward: Callable[[], object]) -> Iterator[None]:
    """Gradients on; afterwards the generators of random numbers are as they were.

    ``forward`` calls ``model`` once, to name the layer that draws random numbers.

    Raises:
        BadInput: random numbers were drawn meanwhile, so that the loss of a sample is random.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    # Attention's fused kernels have no second derivatives, and pass by the layers inside.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.random.fork_rng(), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            before = generator_states()
            try:
                yield
            finally:
                # Also where the rows already differed for it.
                if drawn_since(before):
                    named = drawing_layer(model, forward) if isinstance(model, nn.Module) else None
                    raise BadInput(
                        f"{named or 'the head'} draws random numbers (dropout, stochastic depth, a "
                        "randomized ReLU): the loss of a sample is random. Put it into evaluation "
                        "mode"
                    )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def undisturbed(
    head: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> Iterator[Callable[[Tensor], Tensor]]:
    """The head in ``dtype``, free to be called: a module and its buffers stay as they are."""
    buffers: list[tuple[Tensor, Tensor]] = []
    if isinstance(head, nn.Module):
        tensors = [*head.parameters(), *head.buffers()]
        if any(t.is_floating_point() and t.dtype != dtype for t in tensors):
            head = copy.deepcopy(head).to(dtype)
        else:
            buffers = [(buffer, buffer.clone()) for buffer in head.buffers()]
    try:
        yield head
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                # A write, even of the same values, would spoil the user's pending backward pass.
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def check_targets(target: Tensor, y: Tensor) -> None:
    """Raise BadInput unless there is a target for each sample."""
    if target.dim() == 0 or len(target) != len(y):
        raise BadInput(
            f"there must be one target per sample, {len(y)}; found "
            f"{len(target) if target.dim() else 'a single number'}"
        )


def first_alone(head: Head, y: Tensor, y0: Tensor) -> Tensor:
    """Outputs (2, C) of the first sample and of the point with its head, in a batch of two."""
    samples = torch.zeros(2, dtype=torch.long, device=y.device)
    return call_alone(head, y, torch.stack([y[0], y0]), samples)


def call_alone(head: Head, y: Tensor, rows: Tensor, samples: Tensor) -> Tensor:
    """Outputs of a few rows, of which the first is the first sample's.

    Raises:
        BadInput: they, or the features ``y``, are not finite.
    """
    if not bool(y.isfinite().all()):
        raise BadInput("the features must be finite; found NaN or infinity")
    with torch.no_grad():
        outputs = call(head, rows, samples)
    if not bool(outputs[0].isfinite().all()):
        raise BadInput("the outputs must be finite; found NaN or infinity for sample 0")
    return outputs


def split_batch(batch: Batch, alone: Tensor, hdiag: str | int, seed: int) -> tuple[Terms, str, int]:
    """The terms of a batch, how they were computed, and the kinks found at the point.

    Args:
        alone: from ``first_alone``.
    """
    check_rows(alone[:1], batch.known[:1])
    generator = torch.Generator().manual_seed(seed)
    samples = batch.samples()[:1] if batch.shared else batch.samples()

    def inspected() -> Inspection:
        seen = inspect(
            lambda rows: call(batch.head, rows, samples),
            batch.at_point(len(samples)),
            partial(_loss_directions, batch, generator),
            generator,
        )
        if not bool(seen.outputs.isfinite().all()):
            raise BadInput(NOT_FINITE)
        return seen

    most = MOST_SECONDS if hdiag == "auto" else None
    if hdiag == "auto":
        n = len(batch.y)
        at_point, of = (slice(n, n + 1), n + alone.shape[1]) if batch.shared else (slice(None), n)
        with kinks_in_passing(at_point, of, batch.y.dtype, generator) as counter:
            z, leaves = forward_at_point(batch, alone[1:])
        off_kinks = counter.kinks == 0 and not counter.unsure
        sure = off_kinks and surely_piecewise_linear(z, leaves)
        seen = None if sure else inspected()
        if seen is None or seen.is_piecewise_linear():
            if batch.shared:
                terms, method = fused_terms(batch, z, leaves), "fused"
            else:
                terms = row_by_row_terms(batch, z, leaves, most)
                method = f"row by row ({AROUND})"
            kinks = 0 if seen is None else seen.kinks
            return terms, f"{method}: head seen to be piecewise linear", kinks
        if batch.shared:
            slopes = batch.loss.slope(z[:n], batch.target)
            batch = replace(batch, total=back(z[:n], leaves[:1], slopes)[0])
        del z, leaves
    else:
        seen = inspected()
    # A generator of their own: the probes depend on the seed alone.
    terms, method = exact_terms(batch, hdiag, most, torch.Generator().manual_seed(seed))
    if not batch.shared:
        method += f", sample by sample ({AROUND})"
    return terms, method, seen.kinks


def _loss_directions(batch: Batch, generator: torch.Generator, outputs: Tensor) -> Tensor:
    """Along which combinations (m, C) of the outputs at the point the head may not be curved.

    A loss's Hessian holds the second derivative of the outputs along the loss's slope. For a
    shared head: one random combination of the slopes of all losses, each of unit length, so
    that saturated ones count as much; else every sample's own.
    """
    if not batch.shared:
        return _unit_rows(batch.loss.slope(outputs, batch.target))
    targets, _ = batch.distinct()
    slopes = _unit_rows(batch.loss.slope(outputs.expand(len(targets), -1), targets))
    weights = torch.randn(len(targets), generator=generator)
    return weights.to(slopes)[None] @ slopes


def _unit_rows(rows: Tensor) -> Tensor:
    lengths = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(lengths == 0, 1, lengths)


def assembled(
    batch: Batch,
    terms: Terms,
    method: str,
    kinks: int,
    sigma: Tensor | None,
    carry: Callable[[Tensor], Tensor] | None,
) -> Split:
    """The split, its terms in the shape of y; the remainder is what they leave of the total."""
    shape = batch.y.shape
    diag = batch.step * terms.hdiag
    of_hdiag = shape if terms.hdiag.dim() == 2 else shape[1:]
    return Split(
        y=batch.y,
        sigma=sigma,
        y0=batch.y0,
        first=terms.first.view(shape),
        diag=diag.view(shape),
        offdiag=(terms.second - diag).view(shape),
        second=terms.second.view(shape),
        remainder=(terms.total - terms.first - terms.second).view(shape),
        total=terms.total.view(shape),
        hdiag=terms.hdiag.view(of_hdiag),
        hdiag_se=None if terms.hdiag_se is None else terms.hdiag_se.view(of_hdiag),
        method=method,
        kinks=kinks,
        carry=carry,
    )
