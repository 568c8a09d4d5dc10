"""How the cost of a split grows with D, beside a plain pass and other ways to its terms."""

from collections.abc import Mapping
from dataclasses import dataclass

import peers
import torch
from timing import Spread, rounds
from torch import Tensor, nn

import bnblind

SIZES = (256, 1024, 4096, 16384)
LARGEST_DENSE = 4096
HIDDEN, CLASSES, N = 512, 10, 128


@dataclass(frozen=True)
class Cost:
    """At one D: each way's seconds, round by round, and the relative error of its diagonal."""

    times: Mapping[str, list[float]]
    errors: Mapping[str, float]

    def ratios(self, reference: str) -> list[float]:
        """The split's time over another's, round by round."""
        pairs = zip(self.times["split"], self.times[reference], strict=True)
        return [split / other for split, other in pairs]


def at_size(D: int, repeats: int) -> Cost:
    torch.manual_seed(D)
    head = nn.Sequential(nn.Linear(D, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)).double()
    y, _ = bnblind.standardize(torch.randn(N, D, dtype=torch.float64))
    target, point = torch.full((N,), 3), torch.zeros_like(y[0])
    by_peers = peers.diagonals(head, point, target[:1])

    def assembled() -> Tensor:
        """Every term that the split gives, by other means; returns the diagonal."""
        total, diagonal = peers.gradient(head, y, target), by_peers["BackPACK DiagHessian"]()
        first, second = peers.second_order(head, y, target)
        _offdiag, _remainder = second - diagonal * y, total - first - second
        return diagonal

    diagonals = {
        "split": lambda: bnblind.split_head(head, y, target).hdiag,
        "BackPACK and double backward": assembled,
        "split, 1 sample": lambda: bnblind.split_head(head, y[:1], target[:1]).hdiag,
        **by_peers,
    }
    if D <= LARGEST_DENSE:
        dense = peers.dense_hessian
        diagonals["torch.func.hessian"] = lambda: dense(head, point, target[:1]).diagonal()
    references = {
        "plain pass": lambda: peers.plain(head, y, target),
        "gradient with respect to y": lambda: peers.gradient(head, y, target),
    }
    times = rounds({**references, **diagonals}, repeats, few=["torch.func.hessian"])
    exact = peers.exact_diagonal(head, point)
    return Cost(
        times, {name: peers.relative_error(way(), exact) for name, way in diagonals.items()}
    )


def table(costs: Mapping[int, Cost]) -> str:
    """Median milliseconds by D, the error at the largest D where all ways ran, and the ratios."""
    errors = costs[LARGEST_DENSE].errors
    lines = ["| D | " + " | ".join(map(str, costs)) + f" | error at {LARGEST_DENSE} |"]
    lines.append("|---" * (len(costs) + 2) + "|")
    for way in costs[LARGEST_DENSE].times:
        medians = [
            Spread.of(c.times[way]).median if way in c.times else None for c in costs.values()
        ]
        cells = ["" if median is None else f"{1e3 * median:.3g}" for median in medians]
        error = f"{errors[way]:.1e}" if way in errors else ""
        lines.append(f"| {way}, ms | " + " | ".join([*cells, error]) + " |")
    for reference in ("plain pass", "gradient with respect to y"):
        cells = [f"{Spread.of(cost.ratios(reference)).median:.2f}" for cost in costs.values()]
        lines.append(f"| split / {reference} | " + " | ".join([*cells, ""]) + " |")
    return "\n".join(lines)
