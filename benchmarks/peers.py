"""What the split is compared with: plain passes, and other ways to the Hessian's diagonal of one
sample's loss at a point of its features.

BackPACK and curvlinops give derivatives with respect to parameters only. So the point becomes a
parameter: a layer in front of the head, fed with a single 1, whose parameter is its output.
"""

import copy
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# On their use of torch, on every call.
warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", message="Full backward hook is firing")

from backpack import backpack, extend  # noqa: E402
from backpack.extensions import DiagGGNExact, DiagHessian  # noqa: E402
from curvlinops import HessianLinearOperator, hutchinson_diag, xdiag  # noqa: E402

PRODUCTS = 20
"""Matrix-vector products of the estimators: twice as many as the Hessian has classes."""


def plain(head: nn.Module, y: Tensor, target: Tensor) -> None:
    """One forward and backward pass: gradients with respect to the parameters and y."""
    head.zero_grad()
    y = y.detach().requires_grad_()
    F.cross_entropy(head(y), target, reduction="sum").backward()


def output_rows(model: nn.Module, layer: str, x: Tensor, rows: int) -> None:
    """One forward pass, and backward passes of so many outputs to the layer's output."""
    kept: list[Tensor] = []

    def start(module: nn.Module, args: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    hook = model.get_submodule(layer).register_forward_hook(start)
    try:
        z = model.requires_grad_(False)(x)
        for row in range(rows):
            torch.autograd.grad(z[:, row].sum(), kept, retain_graph=True)
    finally:
        hook.remove()
        model.requires_grad_(True)


def gradient(head: nn.Module, y: Tensor, target: Tensor) -> Tensor:
    """The same with respect to y only."""
    y = y.detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(head(y), target, reduction="sum"), y)[0]


def second_order(head: nn.Module, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient at 0 and Hessian times y for each sample, by a double backward pass."""
    point = torch.zeros_like(y, requires_grad=True)
    loss = F.cross_entropy(head(point), target, reduction="sum")
    first = torch.autograd.grad(loss, point, create_graph=True)[0]
    return first.detach(), torch.autograd.grad((first * y).sum(), point)[0]


def _as_parameter(y0: Tensor) -> tuple[nn.Module, nn.Parameter, Tensor]:
    """A layer, its parameter ``y0`` and an input, such that the output is ``y0[None]``."""
    place: nn.Linear | nn.ConvTranspose2d
    if y0.dim() == 1:
        place = nn.Linear(1, len(y0)).to(y0)
        place.weight.requires_grad_(False).zero_()
        parameter, one = place.bias, y0.new_ones(1, 1)
    else:
        C, H, W = y0.shape
        place = nn.ConvTranspose2d(1, C, (H, W), bias=False).to(y0)
        (parameter,), one = place.parameters(), y0.new_ones(1, 1, 1, 1)
    with torch.no_grad():
        parameter.copy_(y0.view_as(parameter))
    return place, parameter, one


def _in_front_of(head: nn.Sequential, y0: Tensor) -> tuple[nn.Sequential, nn.Parameter, Tensor]:
    place, parameter, one = _as_parameter(y0)
    frozen = copy.deepcopy(head).requires_grad_(False)
    for layer in frozen:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # BackPACK reads the inputs of layers
    return nn.Sequential(place, *frozen), parameter, one


def _backpack(
    head: nn.Sequential, y0: Tensor, target: Tensor, extension: type, result: str
) -> Callable[[], Tensor]:
    model, parameter, one = _in_front_of(head, y0)
    model, loss = extend(model), extend(nn.CrossEntropyLoss(reduction="sum"))

    def diagonal() -> Tensor:
        parameter.grad = None
        with backpack(extension()):
            loss(model(one), target).backward()
        return getattr(parameter, result).detach().flatten()

    return diagonal


def _curvlinops(
    head: nn.Sequential, y0: Tensor, target: Tensor, estimate: Callable[..., Tensor]
) -> Callable[[], Tensor]:
    model, parameter, one = _in_front_of(head, y0)
    operator = HessianLinearOperator(
        model,
        nn.CrossEntropyLoss(reduction="sum"),
        [parameter],
        [(one, target)],
        check_deterministic=False,
    )
    return lambda: estimate(operator, PRODUCTS).detach()


def diagonals(head: nn.Sequential, y0: Tensor, target: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Calls that give the diagonal (D,) for the loss of one sample, target (1,)."""
    return {
        "BackPACK DiagHessian": _backpack(head, y0, target, DiagHessian, "diag_h"),
        "BackPACK DiagGGNExact": _backpack(head, y0, target, DiagGGNExact, "diag_ggn_exact"),
        "curvlinops Hutchinson": _curvlinops(head, y0, target, hutchinson_diag),
        "curvlinops XDiag": _curvlinops(head, y0, target, xdiag),
    }


def dense_hessian(head: nn.Module, y0: Tensor, target: Tensor) -> Tensor:
    """(D, D), by ``torch.func.hessian``."""
    point = y0.flatten()

    def loss(v: Tensor) -> Tensor:
        return F.cross_entropy(head(v.view(1, *y0.shape)), target)

    return torch.func.hessian(loss)(point).detach()


def hessian_rows(head: nn.Module, y0: Tensor, target: Tensor, rows: int) -> Tensor:
    """The first rows (rows, D) of the same, for what the whole would cost."""

    def loss(v: Tensor) -> Tensor:
        return F.cross_entropy(head(v.view(1, *y0.shape)), target)

    point = y0.flatten()
    units = torch.zeros(rows, len(point)).to(point)
    units[:, :rows].fill_diagonal_(1)
    gradient = torch.func.grad(loss)
    product = torch.func.vmap(lambda unit: torch.func.jvp(gradient, (point,), (unit,))[1])
    return product(units).detach()


def exact_diagonal(head: nn.Module, y0: Tensor) -> Tensor:
    """(D,) of a piecewise linear head with cross entropy, from the Jacobian of its outputs."""
    J = torch.func.jacrev(lambda v: head(v[None])[0])(y0).detach().flatten(1)
    p = head(y0[None]).detach().softmax(1)[0]
    return p @ (J - p @ J).square()


def relative_error(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).norm() / exact.norm()).item()
