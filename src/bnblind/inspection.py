"""Whether a head is piecewise linear at a point, and whether the point is on a kink."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

from bnblind.terms import derivative, normal

# Functions whose first derivative jumps, by the name that torch calls them.
JUMPS_IN_SLOPE = frozenset(
    f"{name}{suffix}"
    for name in (
        *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "threshold", "_threshold", "hardtanh"),
        "hardswish",
        *("hardsigmoid", "hardshrink", "softshrink", "selu", "abs", "absolute", "clamp", "clip"),
        *("clamp_min", "clamp_max", "maximum", "minimum", "fmax", "fmin", "max", "min", "amax"),
        *("sort", "topk", "median", "kthvalue", "cummax", "cummin"),
        *("amin", "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d"),
        *("adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d"),
    )
    for suffix in ("", "_", "_with_indices")
)
CORNERS = {"relu": (0.0,), "relu_": (0.0,), "relu6": (0.0, 6.0)}
"""Where the first derivative of some functions of each unit by itself jumps."""
FARTHEST = 10.0
"""Beyond which no standard normal number that torch draws lies."""
# Linear in their first argument; weight and bias follow it.
LINEAR_MAPS = frozenset({"linear", "conv1d", "conv2d", "conv3d"})
# Functions whose second derivative jumps at 0.
JUMPS_IN_CURVATURE = frozenset({"elu", "elu_", "celu", "celu_"})
WATCHED = JUMPS_IN_SLOPE | JUMPS_IN_CURVATURE | LINEAR_MAPS


# What autograd calls the functions of which it is known that they do not bend.
LINEAR_NODES = frozenset(
    f"{name}Backward{number}"
    for name in (
        *("Add", "Sub", "Rsub", "Neg", "Cat", "Stack", "View", "UnsafeView", "ReshapeAlias"),
        *("Alias", "Clone", "ToCopy", "T", "Transpose", "Permute", "Expand", "Squeeze", "Select"),
        *("Unsqueeze", "Slice", "Split", "Unbind", "Repeat", "Flip", "Roll", "ConstantPadNd"),
        *("Sum", "Mean", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D"),
        *("Relu", "LeakyRelu", "Hardtanh", "Threshold", "MaxPool2DWithIndices"),
        "AdaptiveMaxPool2D",
    )
    for number in range(4)
)
# The same, if only one of their inputs depends on the point; batch norm with constant statistics.
PRODUCT_NODES = frozenset(
    f"{name}Backward{number}"
    for name in ("Mul", "Mm", "Bmm", "Addmm", "Convolution", "NativeBatchNorm")
    for number in range(4)
)


def surely_piecewise_linear(outputs: Tensor, leaves: Sequence[Tensor]) -> bool:
    """Whether autograd recorded nothing between the leaves and the outputs that may bend.

    A function that is not known here says nothing.
    """
    ends = [torch.autograd.graph.get_gradient_edge(leaf).node for leaf in leaves]
    depends: dict[torch.autograd.graph.Node, bool] = dict.fromkeys(ends, True)
    pending = [] if outputs.grad_fn is None else [outputs.grad_fn]
    while pending:
        node = pending[-1]
        inputs = [before for before, _ in node.next_functions if before is not None]
        if new := [before for before in inputs if before not in depends]:
            pending += new
            continue
        pending.pop()
        if node in depends:
            continue
        moving = sum(depends[before] for before in inputs)
        depends[node] = moving > 0
        constant = not getattr(node, "_saved_training", False)
        product = node.name() in PRODUCT_NODES and moving == 1 and constant
        if moving and not product and node.name() not in LINEAR_NODES:
            return False
    return True


@dataclass(frozen=True)
class Inspection:
    """What rows through the head show.

    Attributes:
        outputs: (m, C) at the expansion point.
        kinks: units whose derivative is undefined there, such as a ReLU at 0 or a tie in a
            max-pool; those whose sides have the same derivative do not count.
        curvature: length of the second derivative of the outputs along a random direction, as
            a share of the first; the largest of the rows. 0 for a piecewise linear head.
    """

    outputs: Tensor
    kinks: int
    curvature: float

    def is_piecewise_linear(self) -> bool:
        """Up to the rounding of the outputs' dtype."""
        return self.curvature <= 100 * torch.finfo(self.outputs.dtype).eps


@dataclass
class _KinkCounter(TorchFunctionMode):
    """Counts the units whose one-sided derivatives along the inputs' tangents differ.

    Args:
        step: how far to go to either side: a unit so near a kink counts as on it.
        blindly: the inputs have no tangents; take a random direction at each function.
        rows: of a batch, those at the point.
        of: how many rows the batch has; None: all are at the point.

    Attributes:
        kinks: the units found.
        unsure: whether a function saw another number of rows, so that those at the point may be
            others there.
    """

    step: float
    generator: torch.Generator
    blindly: bool
    rows: slice
    of: int | None = None
    kinks: int = field(default=0, init=False)
    unsure: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in WATCHED:
            args, kwargs = _positional(args, kwargs)
        if name in CORNERS and self._is_off(CORNERS[name], args[0]):
            return func(*args, **kwargs)
        if name in JUMPS_IN_SLOPE and any(map(self._moves, args)):
            self.kinks += self._jumps(func, args, kwargs)
        elif name in JUMPS_IN_CURVATURE:
            x, tangent = self._unpacked(args[0])
            self.kinks += int((x.abs() < self.step * tangent.abs()).sum())
        elif name in LINEAR_MAPS and not self.blindly and len(args) >= 3 and not kwargs:
            return self._linear(func, *args)
        return func(*args, **kwargs)

    def _is_off(self, corners: tuple[float, ...], x: Tensor) -> bool:
        """Whether no unit is near a corner: quickly seen, and true of most calls."""
        if not self.blindly or not self._moves(x):
            return False
        units, reach = self._at_point(x).detach(), FARTHEST * self.step
        return units.numel() > 0 and all(
            bool((units - corner).abs().amin() > reach) for corner in corners
        )

    def _at_point(self, x: Tensor) -> Tensor:
        """The rows at the point, of a batch; a weight has no row for each sample."""
        if x.requires_grad and self.of is not None:
            self.unsure |= x.dim() == 0 or len(x) != self.of
        return x[self.rows] if x.dim() and len(x) > (self.rows.start or 0) else x

    def _linear(self, func: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Any:
        """The same without a tangent of the weight, which torch would write out as zeros."""
        primal, tangent = forward_ad.unpack_dual(x)
        if tangent is None or any(
            v is not None and forward_ad.unpack_dual(v).tangent is not None for v in (weight, bias)
        ):
            return func(x, weight, bias, *how)
        with torch.no_grad():
            moved = func(tangent, weight, None, *how)
        return forward_ad.make_dual(func(primal, weight, bias, *how), moved)

    def _moves(self, x: object) -> bool:
        if not isinstance(x, Tensor):
            return False
        if self.blindly:
            return x.requires_grad
        return forward_ad.unpack_dual(x).tangent is not None

    def _unpacked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.blindly:
            primal = self._at_point(x)
            one = primal[:1] if x.dim() else primal
            tangent = normal(one, self.generator).expand_as(primal)
        else:
            primal, tangent = forward_ad.unpack_dual(x)
        # In float64 the step is not lost in the rounding of the features' own dtype.
        primal = primal.detach().double()
        return primal, torch.zeros_like(primal) if tangent is None else tangent.detach().double()

    def _jumps(self, func: Any, args: Any, kwargs: dict[str, Any]) -> int:
        pairs = [self._unpacked(a) if isinstance(a, Tensor) else (a, None) for a in args]

        def at(step: float) -> Tensor:
            moved = [x if t is None else x + step * t for x, t in pairs]
            found = func(*moved, **kwargs)
            return found if isinstance(found, Tensor) else found[0]

        with torch.no_grad():
            left, here, right = at(-self.step), at(0.0), at(self.step)
            size = torch.maximum(left.abs(), right.abs())
            smooth = 4 * torch.finfo(torch.float64).eps * size + self._bending(pairs)
            return int(((left + right - 2 * here).abs() > smooth).sum())

    def _bending(self, pairs: list[tuple[Any, Any]]) -> float:
        """A bound on what a smooth bend, no kink, makes of a second difference."""
        tangents = [t.abs().max().item() for _, t in pairs if t is not None]
        return 10 * (self.step * max(tangents, default=0.0)) ** 2


def _positional(args: Any, kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call with torch's tensors ``input`` and ``other`` by position, however it was written."""
    rest = dict(kwargs)
    first = [rest.pop("input")] if "input" in rest else []
    second = [rest.pop("other")] if "other" in rest else []
    return (*first, *args, *second), rest


def kinks_in_passing(
    rows: slice, of: int, dtype: torch.dtype, generator: torch.Generator
) -> _KinkCounter:
    """Counts while active, at those rows of a batch of so many, every unit that may be on a kink,
    also those whose sides have the same derivative.
    """
    return _KinkCounter(_step(dtype), generator, True, rows, of)


def _step(dtype: torch.dtype) -> float:
    return 1e-12 if dtype == torch.float64 else 1e-8


def inspect(
    head: Callable[[Tensor], Tensor],
    point: Tensor,
    combination: Callable[[Tensor], Tensor],
    generator: torch.Generator,
) -> Inspection:
    """Send the expansion point through the head, with one random direction.

    Args:
        head: (m, *S) -> (m, C).
        point: (m, *S) the point, once for each sample that has a head of its own.
        combination: outputs (m, C) -> (m, C), the combination of a row's outputs whose second
            derivative matters.
        generator: of the random directions.
    """
    point = point.detach()
    step = _step(point.dtype)
    direction = normal(point, generator)

    try:
        with forward_ad.dual_level(), warnings.catch_warnings():
            # torch's own forward derivatives warn about torch.jit on their first use.
            warnings.simplefilter("ignore", FutureWarning)
            leaf = point.clone().requires_grad_()
            dual = forward_ad.make_dual(leaf, direction)
            with _KinkCounter(step, generator, blindly=False, rows=slice(None)) as counter:
                z = head(dual.clone())
            z = forward_ad.unpack_dual(z).primal
    except RuntimeError:  # a function without forward derivatives
        leaf = point.clone().requires_grad_()
        with _KinkCounter(step, generator, blindly=True, rows=slice(None)) as counter:
            z = head(leaf.clone())
    # Outside the level: with tangents, torch multiplies by those of the weights too.
    outputs = z.detach()
    along = combination(outputs)
    first = derivative(z * along, leaf, create_graph=True)
    second = _second_derivative(head, along, leaf, first, direction)
    lengths = first.detach().flatten(1).norm(dim=1)
    bends = second.detach().flatten(1).norm(dim=1)
    curvature = torch.where(bends == 0, 0, bends / lengths).max().item()
    return Inspection(outputs, counter.kinks, curvature)


def _second_derivative(
    head: Callable[[Tensor], Tensor], along: Tensor, point: Tensor, first: Tensor, direction: Tensor
) -> Tensor:
    """Backward twice; where torch has no formula for that, from two first derivatives. Their
    difference is exactly 0 where the head is linear from one point to the other.
    """
    try:
        return derivative(first * direction, point)
    except RuntimeError:
        h = 1e-6 if point.dtype == torch.float64 else 1e-3
        moved = (point.detach() + h * direction).requires_grad_()
        return (derivative(head(moved.clone()) * along, moved) - first.detach()) / h
