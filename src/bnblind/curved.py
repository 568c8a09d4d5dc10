"""The Hessian's diagonal behind curved functions, as a sum over the units that bend.

For a head made of linear maps, curved functions of one unit and products of two units, the second
derivative of a loss along v is ``sum_k w_k (a_k v)(b_k v)``. For ``f(u)``: a = b = du/dy,
w = adjoint of f(u) times f''(u); for a product a b: da/dy, db/dy, twice the adjoint; to these
comes the loss's own curvature in the outputs. The derivatives du/dy are the same for every
target, and cost one backward row for each unit or one tangent for each feature. Norms that take
statistics within a sample, softmax and quotients are written out as such functions.

Nothing here knows whether it has seen all that bends: compare ``along`` with a double-backward
product before ``diagonals`` is believed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from bnblind.standardization import per_channel
from bnblind.terms import Batch, back, call, derivative

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


def _standardized(x: Tensor, axes: Sequence[int], eps: float) -> Tensor:
    # Not F.layer_norm: some of torch's second derivatives of it are wrong.
    centred = x - x.mean(axes, keepdim=True)
    return centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    y = _standardized(input, tuple(range(-len(normalized_shape), 0)), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    grouped = input.reshape(len(input), num_groups, -1)
    y = _standardized(grouped, [2], eps).reshape(input.shape)
    y = y if weight is None else y * per_channel(weight, y)
    return y if bias is None else y + per_channel(bias, y)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return F.batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    return _group_norm(input, input.shape[1], weight, bias, eps)


def _rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    power = input.square().mean(tuple(range(-len(normalized_shape), 0)), keepdim=True)
    y = input * (power + eps).rsqrt()
    return y if weight is None else y * weight


def _softmax(input: Tensor, dim: int, **_: Any) -> Tensor:
    powers = (input - input.detach().amax(dim, keepdim=True)).exp()
    return powers * powers.sum(dim, keepdim=True).reciprocal()


Function = Callable[..., Any]

WRITTEN_OUT: dict[str, Function] = {"hardsigmoid": lambda x, **_: F.relu6(x + 3) / 6}
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
    return isinstance(x, Tensor) and x.requires_grad


@dataclass(frozen=True)
class Bend:
    """One call of a function that bends: of U units, or the product of two factors of U units.

    ``value`` is its result, ``second`` the second derivative; all are (rows, U).
    """

    factors: tuple[Tensor, ...]
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
            with self:
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
        self.found.append(Bend(tuple(units), second, flat))
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
    """

    def __init__(self, batch: Batch, targets: Tensor) -> None:
        samples = batch.samples()[:1] if batch.shared else batch.samples()
        self.heads, self.copies = len(samples), max(1, ROWS // len(samples))
        self.point = batch.at_point(self.heads * self.copies)
        with _Bends(len(self.point)) as bends:
            z = call(batch.head, self.point.clone(), samples.repeat_interleave(self.copies))
        self.outputs, self.bends = z, bends.found
        alone = self._by_head(z.detach())[:, 0].repeat_interleave(len(targets) // self.heads, 0)
        slopes = batch.loss.slope(alone, targets).view(self.heads, -1, z.shape[1])
        self.weights = self._adjoints_times_second(slopes)
        few = slice(1 if batch.loss.same_curvature and batch.shared else None)
        weights, directions = batch.loss.curvature(alone[few], targets[few])
        self.of_loss = weights.view(self.heads, -1, weights.shape[1])
        self.directions = directions.reshape(*self.of_loss.shape, -1)
        self._places = [*chain.from_iterable(bend.factors for bend in self.bends), z]
        # Linear in the seeds; its derivative with respect to them takes tangents forward.
        self._seeds = [torch.zeros_like(place, requires_grad=True) for place in self._places]
        (self._pulled,) = torch.autograd.grad(
            self._places, self.point, self._seeds, create_graph=True
        )

    def _by_head(self, rows: Tensor) -> Tensor:
        return rows.reshape(self.heads, self.copies, -1)

    def _at_once(self, rows: Tensor) -> Tensor:
        """Rows (heads, m, k), m <= copies, of as many copies as there are."""
        return F.pad(rows, (0, 0, 0, self.copies - rows.shape[1]))

    def _backward(
        self, place: Tensor, rows: Tensor, to: Sequence[Tensor]
    ) -> list[Tensor]:
        """Gradients (heads, m, ...) of ``place`` times each of ``rows`` (heads, m, U)."""
        found = back(place, to, self._at_once(rows).view_as(place), retain_graph=True)
        return [self._by_head(v)[:, : rows.shape[1]] for v in found]

    def _adjoints_times_second(self, slopes: Tensor) -> list[Tensor]:
        """What a bend's units count in each loss, for slopes (heads, L, C): (heads, L, U) each."""
        values = [bend.value for bend in self.bends]
        few = [self._backward(self.outputs, some, values) for some in slopes.split(self.copies, 1)]
        adjoints = [torch.cat(parts, 1) for parts in zip(*few, strict=True)]
        seconds = [self._by_head(bend.second)[:, :1] for bend in self.bends]
        return [a * second for a, second in zip(adjoints, seconds, strict=True)]

    def along(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        """v'Hv for directions v (heads, m, D), and the sum of the sizes of its terms; both
        (heads, L, m).
        """
        moved = torch.autograd.grad(
            self._pulled,
            self._seeds,
            self._at_once(directions).view_as(self.point),
            retain_graph=True,
            materialize_grads=True,
        )
        *tangents, z = (self._by_head(v)[:, : directions.shape[1]].mT for v in moved)
        squares = (self.directions.flatten(1, 2) @ z).square()
        terms = self.of_loss[..., None] * squares.view(*self.of_loss.shape, -1)
        value, size = terms.sum(2), terms.abs().sum(2)
        of_units = iter(tangents)
        for bend, weight in zip(self.bends, self.weights, strict=True):
            moves = [next(of_units) for _ in bend.factors]
            product = moves[0] * moves[-1]
            value, size = value + weight @ product, size + weight.abs() @ product.abs()
        return value, size

    def _feature_by_feature(self) -> Tensor:
        D = self.point[0].numel()
        features = torch.arange(D, device=self.point.device)
        found = []
        for some in features.split(self.copies):
            units = F.one_hot(some, D).to(self.point).expand(self.heads, -1, -1)
            found.append(self.along(units)[0])
        return torch.cat(found, 2)

    def _unit_by_unit(self) -> Tensor:
        total = self.point.new_zeros(self.heads, self.weights[0].shape[1], self.point[0].numel())
        for bend, weight in zip(self.bends, self.weights, strict=True):
            U = weight.shape[2]
            for some in torch.arange(U, device=total.device).split(self.copies):
                units = F.one_hot(some, U).to(total).expand(self.heads, -1, -1)
                rows = [self._backward(u, units, [self.point])[0] for u in bend.factors]
                total += weight[:, :, some] @ (rows[0] * rows[-1])
        own = total.new_zeros(self.heads, self.of_loss.shape[1], total.shape[2])
        for target, (weight, directions) in enumerate(
            zip(self.of_loss.unbind(1), self.directions.unbind(1), strict=True)
        ):
            for w, some in zip(
                weight.split(self.copies, 1), directions.split(self.copies, 1), strict=True
            ):
                (row,) = self._backward(self.outputs, some, [self.point])
                own[:, target] += (w[:, None] @ row.square()).squeeze(1)
        return total + own

    def diagonals(self) -> Tensor:
        """diag H of each loss, (heads * L, D); by units or by features, whichever are fewer."""
        units = sum(place.shape[1] for place in self._places[:-1])
        losses = self.of_loss.shape[1] * self.of_loss.shape[2]
        fewer = units + losses < self.point[0].numel()
        found = self._unit_by_unit() if fewer else self._feature_by_feature()
        return found.flatten(0, 1)
