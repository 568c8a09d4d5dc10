"""The Hessian's diagonal behind curved functions, as a sum over the units that bend.

For a head made of linear maps, curved functions of one unit and products of two units, the second
derivative of a loss along v is ``sum_k w_k (a_k v)(b_k v)``. For ``f(u)``: a = b = du/dy,
w = adjoint of f(u) times f''(u); for a product a b: da/dy, db/dy, twice the adjoint; to these
comes the loss's own curvature in the outputs. The derivatives du/dy are the same for every
target, and cost one backward row for each unit or one tangent for each feature. Norms that take
statistics within a sample, softmax and quotients are written out as such functions.

Nothing here knows whether it has seen all that bends: compare ``along_direction`` with a
double-backward product before ``diagonals`` is believed.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, compress
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from bnblind.pacing import paced
from bnblind.standardization import per_channel
from bnblind.terms import DIAGONAL, Batch, back, call, derivative, normal

# Functions of each unit by itself that bend, by the name that torch calls them.
BENDING = frozenset(
    f"{name}{suffix}"
    for name in (
        *("gelu", "silu", "mish", "tanh", "sigmoid", "softplus", "elu", "celu", "selu", "exp"),
        *("hardswish", "softsign", "tanhshrink", "log_sigmoid", "expm1", "log", "log1p", "sqrt"),
        *("rsqrt", "square", "pow", "reciprocal", "sin", "cos", "erf", "atan", "cosh", "sinh"),
    )
    for suffix in ("", "_")
)
PRODUCTS = frozenset({"mul", "mul_", "multiply"})

ROWS = 64
"""Copies of the point that are differentiated at once: enough for fast matrix products."""


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _standardized(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    # Not F.layer_norm: some of torch's second derivatives of it are wrong.
    centred = x - x.mean(axes, keepdim=True)
    return centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()


def _layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    return _affine(_standardized(x, axes, eps), weight, bias)


def _rms_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    axes, eps = tuple(range(-len(normalized_shape), 0)), eps or torch.finfo(x.dtype).eps
    return _affine(x * (x.square().mean(axes, keepdim=True) + eps).rsqrt(), weight, None)


def _group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    y = _standardized(x.reshape(len(x), num_groups, -1), (2,), eps).view_as(x)
    weight, bias = (v if v is None else per_channel(v, y) for v in (weight, bias))
    return _affine(y, weight, bias)


def _instance_norm(
    x: Tensor, mean: Tensor | None = None, var: Tensor | None = None, **how: Any
) -> Tensor:
    weight, bias, eps = how.get("weight"), how.get("bias"), how.get("eps", 1e-5)
    mean, var = how.get("running_mean", mean), how.get("running_var", var)
    if how.get("use_input_stats", True):
        return _group_norm(x, x.shape[1], weight, bias, eps)
    return F.batch_norm(x, mean, var, weight, bias, eps=eps)


def _softmax(x: Tensor, dim: int, **_: Any) -> Tensor:
    powers = (x - x.detach().amax(dim, keepdim=True)).exp()
    return powers * powers.sum(dim, keepdim=True).reciprocal()


Function = Callable[..., Any]


def _hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    value = F.relu6(x + 3) / 6
    return x.copy_(value) if inplace else value


WRITTEN_OUT: dict[str, Function] = {"hardsigmoid": _hardsigmoid}
"""Functions of which torch has no second derivative, as others that have one."""

AS_UNITS: dict[str, Function] = {
    **WRITTEN_OUT,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "rms_norm": _rms_norm,
    "softmax": _softmax,
    "div": lambda x, by: x * by.reciprocal() if _moves(by) else x / by,
    "__rdiv__": lambda by, x: x * by.reciprocal(),
}
"""Functions that bend units together, as others that bend each by itself."""


def _moves(x: object) -> bool:
    # Inside a user's own function gradients are off: autograd sees its result alone.
    return isinstance(x, Tensor) and x.requires_grad and torch.is_grad_enabled()


@dataclass(frozen=True)
class Bend:
    """One call of a function that bends: of U units, or the product of two factors of U units.

    ``value`` is its result, ``second`` the second derivative; all are (rows, U). ``seeds``, of
    the factors' shapes, are what their derivatives are taken along.
    """

    factors: list[Tensor]
    seeds: list[Tensor]
    second: Tensor
    value: Tensor


class _Bends(TorchFunctionMode):
    """Keeps what bends while a head is called on ``rows`` copies of the point."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.found: list[Bend] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if "input" in kwargs and name in BENDING | AS_UNITS.keys():
            kwargs = dict(kwargs)
            args = (kwargs.pop("input"), *args)
        if name in AS_UNITS and any(map(_moves, args)):
            # A TypeError: called in a way that is not known here. Then the rule is not complete.
            with self, suppress(TypeError):
                return AS_UNITS[name](*args, **kwargs)
        if name in BENDING and _moves(args[0]):
            # Copies: what writes into the input or into the result leaves these as they are.
            u = args[0].clone()
            value = func(u.clone(), *args[1:], **kwargs)
            second = _second_derivative(lambda v: func(v, *args[1:], **kwargs), u)
            return self._kept([u], second, value)
        if name in PRODUCTS and len(args) == 2 and all(map(_moves, args)):
            value = args[0] * args[1]
            factors = [factor.expand_as(value).clone() for factor in args]
            return self._kept(factors, torch.full_like(value, 2), value)
        return func(*args, **kwargs)

    def _kept(self, factors: Sequence[Tensor], second: Tensor, value: Tensor) -> Tensor:
        if value.dim() == 0 or len(value) % self.rows:
            return value
        *units, second, flat = (v.reshape(self.rows, -1) for v in (*factors, second, value))
        seeds = [torch.zeros_like(unit, requires_grad=True) for unit in units]
        self.found.append(Bend(units, seeds, second, flat))
        return flat.clone().view_as(value)


def _second_derivative(f: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
    """Of a function of each unit by itself."""
    leaf = u.detach().requires_grad_()
    return derivative(derivative(f(leaf.clone()), leaf, create_graph=True), leaf)


class Curvature:
    """Second derivatives of a batch's losses at the point; see above.

    A batch has ``heads``, 1 or one for each sample, and for each of them L targets or 1. The
    point is repeated ``copies`` times for each head, so that as many rows are differentiated at
    once. Memory is that of ``ROWS`` samples, or of the batch where samples differ in their head.

    Args:
        targets: (L, ...) of the one head, or (n, ...), one for each sample's.
        generator: of ``direction`` (heads, 1, D), a random one; ``along_direction`` are the second
            derivatives v'Hv along it, and the sums of the sizes of their terms, (heads, L, 1).
    """

    def __init__(self, batch: Batch, targets: Tensor, generator: torch.Generator) -> None:
        samples = batch.samples()[:1] if batch.shared else batch.samples()
        self.heads, self.copies = len(samples), max(1, ROWS // len(samples))
        self.point = batch.at_point(self.heads * self.copies)
        with _Bends(len(self.point)) as bends:
            z = call(batch.head, self.point.clone(), samples.repeat_interleave(self.copies))
        self.outputs, self._seed = z, torch.zeros_like(z, requires_grad=True)
        # Linear in the seeds; its derivative with respect to them takes tangents forward.
        (self._pulled,) = torch.autograd.grad(
            [*chain.from_iterable(bend.factors for bend in bends.found), z],
            self.point,
            [*chain.from_iterable(bend.seeds for bend in bends.found), self._seed],
            create_graph=True,
        )
        self.direction = normal(self.point[: self.heads].flatten(1), generator)[:, None]
        moved, moves = self._moved(self.direction, bends.found)
        # A weight that requires gradients is a factor, but does not depend on the point.
        kept = [all(bool(move.any()) for move in factors) for factors in moves]
        self.bends = list(compress(bends.found, kept))
        self.losses = len(targets) // self.heads
        alone = self._by_head(z.detach())[:, 0].repeat_interleave(self.losses, 0)
        slopes = batch.loss.slope(alone, targets).view(self.heads, self.losses, z.shape[1])
        self.weights = self._adjoints_times_second(slopes)
        few = slice(1 if batch.loss.same_curvature and batch.shared else None)
        weights, directions = batch.loss.curvature(alone[few], targets[few])
        self.of_loss = weights.view(self.heads, len(weights) // self.heads, -1)
        self.directions = directions.reshape(*self.of_loss.shape, z.shape[1])
        self.along_direction = self._form(moved, list(compress(moves, kept)))

    def _by_head(self, rows: Tensor) -> Tensor:
        return rows.reshape(self.heads, self.copies, -1)

    def _at_once(self, rows: Tensor) -> Tensor:
        """Rows (heads, m, k), m <= copies, of as many copies as there are."""
        return F.pad(rows, (0, 0, 0, self.copies - rows.shape[1]))

    def _backward(self, place: Tensor, rows: Tensor, to: Sequence[Tensor]) -> list[Tensor]:
        """Gradients (heads, m, ...) of ``place`` times each of ``rows`` (heads, m, U)."""
        found = back(place, to, self._at_once(rows).view_as(place), retain_graph=True)
        return [self._by_head(v)[:, : rows.shape[1]] for v in found]

    def _adjoints_times_second(self, slopes: Tensor) -> list[Tensor]:
        """What a bend's units count in each loss, for slopes (heads, L, C): (heads, L, U) each."""
        if not self.bends:
            return []
        values = [bend.value for bend in self.bends]
        few = [self._backward(self.outputs, some, values) for some in slopes.split(self.copies, 1)]
        adjoints = [torch.cat(parts, 1) for parts in zip(*few, strict=True)]
        seconds = [self._by_head(bend.second)[:, :1] for bend in self.bends]
        return [a * second for a, second in zip(adjoints, seconds, strict=True)]

    def _moved(
        self, directions: Tensor, bends: Sequence[Bend]
    ) -> tuple[Tensor, list[list[Tensor]]]:
        """How the outputs and the factors of the bends move along directions (heads, m, D): each
        (heads, U, m).
        """
        moved = torch.autograd.grad(
            self._pulled,
            [self._seed, *chain.from_iterable(bend.seeds for bend in bends)],
            self._at_once(directions).view_as(self.point),
            retain_graph=True,
            materialize_grads=True,
        )
        z, *moves = (self._by_head(v)[:, : directions.shape[1]].mT for v in moved)
        of_factors = iter(moves)
        return z, [[next(of_factors) for _ in bend.factors] for bend in bends]

    def _form(self, z: Tensor, moves: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
        """Second derivatives along the directions that move the outputs and factors so, and the
        sums of the sizes of their terms; both (heads, L, m).
        """
        squares = (self.directions.flatten(1, 2) @ z).square()
        terms = self.of_loss[..., None] * squares.view(*self.of_loss.shape, z.shape[2])
        value, size = (v.sum(2).expand(-1, self.losses, -1) for v in (terms, terms.abs()))
        for weight, factors in zip(self.weights, moves, strict=True):
            product = factors[0] * factors[-1]
            value, size = value + weight @ product, size + weight.abs() @ product.abs()
        return value, size

    def _feature_by_feature(self, most_seconds: float | None) -> Tensor:
        D = self.point[0].numel()
        pieces = torch.arange(D, device=self.point.device).split(self.copies)
        found = []
        for some in paced(pieces, DIAGONAL, most_seconds):
            units = F.one_hot(some, D).to(self.point).expand(self.heads, -1, -1)
            found.append(self._form(*self._moved(units, self.bends))[0])
        return torch.cat(found, 2)

    def _unit_by_unit(self, most_seconds: float | None) -> Tensor:
        """From the last bend to the first, whose rows are the cheaper ones."""
        D = self.point[0].numel()
        own = self.point.new_zeros(self.heads, self.of_loss.shape[1], D)
        for target, (weights, rows) in enumerate(
            zip(self.of_loss.unbind(1), self.directions.unbind(1), strict=True)
        ):
            for some in torch.arange(rows.shape[1], device=own.device).split(self.copies):
                found = self._backward(self.outputs, rows[:, some], [self.point])[0]
                own[:, target] += (weights[:, None, some] @ found.square()).squeeze(1)
        total = own.expand(-1, self.losses, -1).clone()
        pieces = [
            (bend, weights, some)
            for bend, weights in zip(self.bends[::-1], self.weights[::-1], strict=True)
            for some in torch.arange(weights.shape[2], device=own.device).split(self.copies)
        ]
        for bend, weights, some in paced(pieces, DIAGONAL, most_seconds):
            units = F.one_hot(some, weights.shape[2]).to(own).expand(self.heads, -1, -1)
            slopes = [self._backward(u, units, [self.point])[0] for u in bend.factors]
            total += weights[:, :, some] @ (slopes[0] * slopes[-1])
        return total

    def diagonals(self, most_seconds: float | None) -> Tensor:
        """The Hessian's diagonal of each loss, (heads * L, D): unit by unit or feature by
        feature, whichever are fewer.

        Raises:
            BadInput: it would take longer than ``most_seconds``.
        """
        units = sum(bend.value.shape[1] * len(bend.factors) for bend in self.bends)
        squares = self.of_loss.shape[1] * self.of_loss.shape[2]
        fewer = units + squares < self.point[0].numel()
        way = self._unit_by_unit if fewer else self._feature_by_feature
        return way(most_seconds).flatten(0, 1)
