"""How the cost of a split grows with D, beside plain backward and other ways to its terms."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import peers
import torch
from timing import Spread, ratio, rounds
from torch import Tensor, nn
from torch.nn import functional as F

import bnblind

SIZES = (256, 512, 1024, 2048, 4096, 8192, 16384)
LARGE = 2048
"""Slopes are fitted from this size on."""
DENSE_SIZES = tuple(D for D in SIZES if D <= 4096)
HIDDEN = 512
N = 128

# Short name -> what it is; the first four do something for the whole batch.
LABELS = {
    "split": "split",
    "assembled": "BackPACK + double backward",
    "plain": "forward + backward",
    "gradient": "gradient with respect to y only",
    "split one": "split, one sample",
    "dense": "torch.func.hessian",
    "BackPACK DiagHessian": "BackPACK DiagHessian",
    "BackPACK DiagGGNExact": "BackPACK DiagGGNExact",
    "curvlinops Hutchinson": f"curvlinops Hutchinson, {peers.PRODUCTS} products",
    "curvlinops XDiag": f"curvlinops XDiag, {peers.PRODUCTS} products",
}


@dataclass(frozen=True)
class Cost:
    """Seconds of the rounds, and the relative error of the diagonal (NaN: gives none)."""

    times: list[float]
    error: float
    extrapolated: bool = False

    @property
    def spread(self) -> Spread:
        return Spread.of(self.times)


Costs = dict[tuple[int, str], Cost]


def plain(head: nn.Module, y: Tensor, target: Tensor) -> None:
    """One forward and backward pass: gradients with respect to the parameters and y."""
    head.zero_grad()
    y = y.detach().requires_grad_()
    F.cross_entropy(head(y), target, reduction="sum").backward()


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


def problem(D: int, classes: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(D)
    head = nn.Sequential(nn.Linear(D, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes)).double()
    y, _ = bnblind.standardize(torch.randn(N, D, dtype=torch.float64))
    return head, y, torch.full((N,), 3)


def at_size(D: int, classes: int, repeats: int) -> dict[str, Cost]:
    head, y, target = problem(D, classes)
    point = torch.zeros_like(y[0])
    diagonals = {
        "split": lambda: bnblind.split_head(head, y, target).hdiag,
        "split one": lambda: bnblind.split_head(head, y[:1], target[:1]).hdiag,
        **peers.diagonals(head, point, target[:1]),
    }
    if D in DENSE_SIZES:
        diagonals["dense"] = lambda: peers.dense_hessian(head, point, target[:1]).diagonal()
    backpack = diagonals["BackPACK DiagHessian"]

    def assembled() -> Tensor:
        """All that the split gives, by other means."""
        total, diagonal = gradient(head, y, target), backpack()
        first, second = second_order(head, y, target)
        diag = diagonal * y
        return total - first - diag - (second - diag)

    calls = {
        "plain": lambda: plain(head, y, target),
        "gradient": lambda: gradient(head, y, target),
        "assembled": assembled,
        **diagonals,
    }
    times = rounds(calls, repeats, few=["dense"])
    exact = peers.exact_diagonal(head, point)
    errors = {name: peers.relative_error(call(), exact) for name, call in diagonals.items()}
    errors["assembled"] = errors["BackPACK DiagHessian"]
    return {name: Cost(times[name], errors.get(name, math.nan)) for name in calls}


def slope(costs: Costs, name: str, least: int = LARGE) -> float:
    """Of the logarithm of the median time against that of D."""
    points = [
        (math.log(D), math.log(cost.spread.median))
        for (D, which), cost in costs.items()
        if which == name and D >= least and not cost.extrapolated
    ]
    return fitted_slope(points)


def slope_above(costs: Costs, name: str, reference: str) -> Spread:
    """By how much steeper a way is than another, round by round."""
    sizes = [D for D in SIZES if D >= LARGE]
    ratios = zip(
        *(
            [a / b for a, b in zip(costs[D, name].times, costs[D, reference].times, strict=True)]
            for D in sizes
        ),
        strict=True,
    )
    return Spread.of(
        [
            fitted_slope([(math.log(D), math.log(r)) for D, r in zip(sizes, row, strict=True)])
            for row in ratios
        ]
    )


def fitted_slope(points: list[tuple[float, float]]) -> float:
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return covariance / sum((x - mean_x) ** 2 for x, _ in points)


def extrapolate(costs: Costs) -> None:
    """Give the dense Hessian the times that its slope predicts where it was not run."""
    last = DENSE_SIZES[-1]
    steepness = slope(costs, "dense", least=last // 4)
    for D in SIZES:
        if D not in DENSE_SIZES:
            time = costs[last, "dense"].spread.median * (D / last) ** steepness
            costs[D, "dense"] = Cost([time], math.nan, extrapolated=True)


def measure(classes: int, repeats: int, out: Path) -> Costs:
    """Time all ways at all sizes; print and write the table, draw the figure."""
    import cost_figure

    costs: Costs = {}
    for D in SIZES:
        costs |= {(D, name): cost for name, cost in at_size(D, classes, repeats).items()}
    extrapolate(costs)
    print_table(costs, (N + classes - 1) / N)
    write_table(costs, out / "cost.csv")
    cost_figure.draw(costs, out / "cost")
    return costs


def print_table(costs: Costs, bound: float) -> None:
    """``bound``: rows that a split needs, as a share of those of the gradient."""
    print(f"  {'D':44}" + "".join(f"{D:>10}" for D in SIZES) + f"{'error at 4096':>16}")
    for name, label in LABELS.items():
        cells = [
            f"{1e3 * costs[D, name].spread.median:.3g}" + "*" * costs[D, name].extrapolated
            for D in SIZES
        ]
        error = costs[4096, name].error
        last = "" if math.isnan(error) else f"{error:.1e}"
        print(f"  {label:44}" + "".join(f"{cell:>10}" for cell in cells) + f"{last:>16}")
    for reference in ("plain", "gradient"):
        ratios = [ratio(costs[D, "split"].times, costs[D, reference].times).median for D in SIZES]
        print(f"  {'split / ' + LABELS[reference]:44}" + "".join(f"{r:>10.2f}" for r in ratios))
    print(
        f"  {'  that / lower bound (n + C - 1) / n = ' + format(bound, '.2f'):44}"
        + "".join(f"{r / bound:>10.2f}" for r in ratios)
    )


def write_table(costs: Costs, path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("D", "way", "median_s", "low_s", "high_s", "repeats", "error", "extrapolated")
        )
        for (D, name), cost in costs.items():
            spread = cost.spread
            writer.writerow(
                (
                    *(D, LABELS[name], spread.median, spread.low, spread.high, spread.repeats),
                    *(cost.error, cost.extrapolated),
                )
            )
