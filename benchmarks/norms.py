"""Cost of the norm variants and of the closed-form backward, as ratios measured in one run.

    make bench

Each variant's forward and backward pass is timed in turn with torch's own batch norm on the
same features; the closed form T4 in turn with autograd through the standardization.
"""

from functools import partial

import torch
from timing import Call, Spread, ratio, rounds
from torch import Tensor, nn
from torch.nn import functional as F

from bnblind import numerics
from bnblind.norms import build_norm, freeze_statistics, norm_class, norm_names
from bnblind.standardization import bn_backward, standardize

SHAPES = {"features (16, 32)": (16, 32), "images (64, 32, 8, 8)": (64, 32, 8, 8)}
PAIRS = 31
CALLS = 20


def compared(call: Call, reference: Call) -> tuple[float, float]:
    """Median time of ``call`` in microseconds, and its median ratio to ``reference``."""
    times = rounds({"call": call, "reference": reference}, PAIRS, times=CALLS)
    return (
        1e6 * Spread.of(times["call"]).median,
        ratio(times["call"], times["reference"]).median,
    )


def norm_rows(shape: tuple[int, ...]) -> list[tuple[str, float, float]]:
    x = torch.randn(shape, requires_grad=True)
    weight, bias = (
        torch.ones(shape[1], requires_grad=True),
        torch.zeros(shape[1], requires_grad=True),
    )
    mean, var = torch.zeros(shape[1]), torch.ones(shape[1])

    def reference() -> None:
        F.batch_norm(x, mean, var, weight, bias, training=True).sum().backward()

    rows = []
    for name in norm_names():
        if norm_class(name).needs_positions and len(shape) == 2:
            continue
        norm = build_norm(name, shape[1:])
        freeze_statistics(norm, x.detach())
        rows.append((name, *compared(partial(forward_backward, norm, x), reference)))
    return rows


def forward_backward(layer: nn.Module, x: Tensor) -> None:
    layer(x).sum().backward()


def backward_row(shape: tuple[int, ...]) -> tuple[str, float, float]:
    x = torch.randn(shape, requires_grad=True)
    y, sigma = standardize(x)
    G = torch.randn(shape)
    fixed = y.detach(), sigma.detach()
    return (
        "closed form T4 / autograd",
        *compared(
            lambda: bn_backward(G, *fixed),
            lambda: torch.autograd.grad(y, x, G, retain_graph=True),
        ),
    )


def main() -> None:
    numerics.check("x86-64-v3", 1)
    for label, shape in SHAPES.items():
        print(f"{label}: forward + backward, median of {PAIRS} pairs, ratio to F.batch_norm")
        for name, microseconds, share in norm_rows(shape):
            print(f"  {name:26} {microseconds:9.1f} us  x {share:.2f}")
        name, microseconds, share = backward_row(shape)
        print(f"  {name:26} {microseconds:9.1f} us  x {share:.2f}")


if __name__ == "__main__":
    main()
