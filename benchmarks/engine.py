"""Cost of the derivative engine, as ratios measured in one run, and beside that of others.

    make bench  # also writes them into docs/benchmarks.md

One thread, the machine's own instructions. Sections can be chosen: ``engine.py head growth``.
Results: ``logs/benchmarks/engine/``.
"""

import copy
import csv
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, fields
from functools import cache, partial
from pathlib import Path

import growth
import peers
import torch
from memory import peak
from sections import Result, Section, short
from timing import Call, Spread, ratio, rounds
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import densenet121, efficientnet_b0, mobilenet_v2, resnet18, resnet50
from torchvision.models.vgg import cfgs, make_layers

import bnblind

OUT = Path(__file__).resolve().parents[1] / "logs" / "benchmarks" / "engine"
CLASSES = growth.CLASSES
REPEATS = 11
HESSIAN_ROWS = 32


# 1. The classifier of VGG, fully connected.


@cache
def fc_head() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    head = nn.Sequential(
        *(nn.Linear(4096, 4096), nn.ReLU()),
        *(nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, CLASSES),
    ).double()
    y, _ = bnblind.standardize(torch.randn(128, 4096, dtype=torch.float64))
    return head, y, torch.full((128,), 3)


def fc_split() -> Call:
    head, y, target = fc_head()
    return lambda: bnblind.split_head(head, y, target)


def fc_dense() -> Call:
    head, y, target = fc_head()
    return lambda: peers.dense_hessian(head, torch.zeros_like(y[0]), target[:1])


def fc_plain() -> Call:
    head, y, target = fc_head()
    return lambda: peers.plain(head, y, target)


def head_section() -> list[Result]:
    section = Section("head", "Head 4096-4096-4096-10 with ReLU, D = 4096, n = 128, float64")
    head, y, target = fc_head()
    times = rounds(
        {
            "split": fc_split(),
            "plain": fc_plain(),
            "gradient": lambda: peers.gradient(head, y, target),
            "dense": fc_dense(),
        },
        REPEATS,
        few=["dense"],
    )
    section.add("split", Spread.of(times["split"]), " s")
    section.add("forward + backward", Spread.of(times["plain"]), " s")
    section.add("split / forward + backward", ratio(times["split"], times["plain"]), " x", most=1.4)
    section.add_rows(128, CLASSES, ratio(times["split"], times["gradient"]), most=1.25)
    section.add("torch.func.hessian, one sample", Spread.of(times["dense"]), " s")
    section.add("torch.func.hessian / split", ratio(times["dense"], times["split"]), " x", least=12)
    section.add("peak memory: split", peak(fc_split), " MiB")
    section.add("peak memory: forward + backward", peak(fc_plain), " MiB")
    section.add("peak memory: torch.func.hessian", peak(fc_dense), " MiB")
    return section.results


# 2. A convolutional network at its first normalization point.


@cache
def vgg() -> tuple[nn.Sequential, Tensor, Tensor]:
    """VGG-11's feature layers with batch norm after the first convolution."""
    torch.manual_seed(0)
    first, *others = make_layers(cfgs["A"], batch_norm=False)
    bn = nn.BatchNorm2d(64)
    nn.init.uniform_(bn.bias)
    model = nn.Sequential(first, bn, *others, nn.Flatten(), nn.Linear(512, CLASSES))
    return model, torch.randn(64, 3, 32, 32), torch.full((64,), 3)


def vgg_split() -> Call:
    model, x, target = vgg()
    return lambda: bnblind.split_loss(model, "1", x, target, dtype=torch.float32)


def vgg_plain() -> Call:
    model, x, target = vgg()

    def call() -> None:
        model.zero_grad()
        F.cross_entropy(model(x), target, reduction="sum").backward()

    return call


def vgg_section() -> list[Result]:
    section = Section("vgg", "VGG-11, after the first convolution, D = 65,536, n = 64, float32")
    model, _, target = vgg()
    split = vgg_split()()
    bn, affine = model[1], nn.Conv2d(64, 64, 1, groups=64)
    assert isinstance(split, bnblind.Split)
    assert isinstance(bn, nn.BatchNorm2d)
    assert affine.bias is not None
    y, point = split.y, split.y0
    with torch.no_grad():
        affine.weight.copy_(bn.weight.view(64, 1, 1, 1))
        affine.bias.copy_(bn.bias)
    head = nn.Sequential(affine, *model[2:])
    calls = peers.diagonals(head, point, target[:1])
    times = rounds(
        {
            "split": vgg_split(),
            "plain": vgg_plain(),
            "gradient": lambda: peers.gradient(head, y, target),
            "rows": lambda: peers.hessian_rows(head, point, target[:1], HESSIAN_ROWS),
            **calls,
        },
        7,
        few=["rows", *(name for name in calls if "curvlinops" in name)],
    )
    section.add("split", Spread.of(times["split"]), " s")
    section.add("forward + backward", Spread.of(times["plain"]), " s")
    section.add("split / forward + backward", ratio(times["split"], times["plain"]), " x", most=1.7)
    section.add_rows(64, CLASSES, ratio(times["split"], times["gradient"]))
    section.add("peak memory: split", peak(vgg_split), " MiB", most=1024)
    section.add("peak memory: forward + backward", peak(vgg_plain), " MiB")
    D = point.numel()
    dense = Spread.of([t * D / HESSIAN_ROWS for t in times["rows"]])
    section.add(f"dense Hessian, extrapolated from {HESSIAN_ROWS} of its rows", dense, " s")
    section.add("dense Hessian, memory of the result alone, extrapolated", 4 * D**2 / 2**30, " GiB")
    exact = peers.exact_diagonal(copy.deepcopy(head).double(), point.double())
    section.add("diagonal by split: error", peers.relative_error(split.hdiag.flatten(), exact))
    for name, call in calls.items():
        section.add(f"diagonal by {name}", Spread.of(times[name]), " s")
        section.add("  error", peers.relative_error(call(), exact))
    return section.results


# 3. Growth with D.


def growth_section() -> list[Result]:
    title = f"Head D-{growth.HIDDEN}-{CLASSES} with ReLU, n = {growth.N}, float64"
    section = Section("growth", title)
    costs = {D: growth.at_size(D, REPEATS) for D in growth.SIZES}
    print(growth.table(costs))
    (OUT / "sizes.md").write_text(growth.table(costs) + "\n")
    small, large = growth.SIZES[1], growth.SIZES[-1]
    plain = {D: costs[D].ratios("plain pass") for D in (small, large)}
    section.add(f"split / plain pass, D = {large}", Spread.of(plain[large]), " x")
    section.add(f"  over that at D = {small}", ratio(plain[large], plain[small]), " x", most=1)
    section.add_rows(
        growth.N, CLASSES, Spread.of(costs[large].ratios("gradient with respect to y"))
    )
    return section.results


# 4. The probe in a training step.


PROBED = (resnet50, mobilenet_v2, densenet121)


def probed_model(build: Callable[..., nn.Module]) -> tuple[Call, Call]:
    """A training step without the probe, and the same with it, as the documentation writes it."""
    torch.manual_seed(0)
    model = build(num_classes=CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    x, target = torch.randn(16, 3, 64, 64), torch.randint(CLASSES, (16,))
    probe = bnblind.BlindnessProbe(model)

    def step(watched: AbstractContextManager[object]) -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        with watched:
            loss.backward()
        optimizer.step()

    return partial(step, nullcontext()), partial(step, probe)


def probed_call(build: Callable[..., nn.Module], with_probe: bool) -> Call:
    return probed_model(build)[with_probe]


def probe_section() -> list[Result]:
    section = Section("probe", "BlindnessProbe, training step on 16 x 3 x 64 x 64")
    for build in PROBED:
        plain, probed = probed_model(build)
        times = rounds({"probed": probed, "plain": plain}, REPEATS)
        section.add(f"{build.__name__}: step without", Spread.of(times["plain"]), " s")
        section.add("  with / without", ratio(times["probed"], times["plain"]), " x", most=1.1)
        for name, with_probe in (("without", False), ("with", True)):
            used = peak(partial(probed_call, build, with_probe))
            section.add(f"  peak memory {name}", used, " MiB")
    return section.results


# 5. Curved heads.


def curved_head(D: int, activation: nn.Module) -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(D)
    head = nn.Sequential(nn.Linear(D, 512), activation, nn.Linear(512, CLASSES)).double()
    y, _ = bnblind.standardize(torch.randn(64, D, dtype=torch.float64))
    return head, y, torch.arange(64) % CLASSES


def curved_section() -> list[Result]:
    section = Section("curved", "Heads D-512-10 that bend, n = 64, float64")
    for D, activation, most in (
        (1024, nn.GELU(), 8),
        (4096, nn.GELU(), 7),
        (1024, nn.SiLU(), 8),
        (1024, nn.LayerNorm(512), None),
    ):
        head, y, target = curved_head(D, activation)
        pure, name = target * 0, f"{type(activation).__name__}, D = {D}"
        times = rounds(
            {
                "split": partial(bnblind.split_head, head, y, pure),
                "mixed": partial(bnblind.split_head, head, y, target),
                "plain": partial(peers.plain, head, y, pure),
            },
            7,
        )
        section.add(f"{name}: plain pass", Spread.of(times["plain"]), " s")
        section.add(
            f"  {name}: split / plain", ratio(times["split"], times["plain"]), " x", most=most
        )
        section.add(f"  {name}: the same, 10 labels", ratio(times["mixed"], times["plain"]), " x")
        dense = partial(peers.dense_hessian, head, torch.zeros_like(y[0]), pure[:1])
        took = rounds({"dense": dense}, 3, times=1)["dense"]
        section.add(f"  {name}: torch.func.hessian, one sample", Spread.of(took), " s")
        found = bnblind.split_head(head, y, pure).hdiag
        error = peers.relative_error(found, dense().diagonal())
        section.add(f"  {name}: error of the diagonal", error)
    return section.results


# 6. Residual networks: a head of its own for each sample.

LAYERS: tuple[tuple[Callable[..., nn.Module], str, str], ...] = (
    (resnet18, "layer1.0.bn1", "auto"),
    (resnet18, "layer4.0.bn1", "auto"),
    (resnet50, "layer2.0.bn1", "auto"),
    (mobilenet_v2, "features.10.conv.3", "auto"),
    (densenet121, "features.denseblock3.denselayer20.norm2", "auto"),
    (efficientnet_b0, "features.4.0.block.0.1", "none"),
)
"""Network, layer and ``hdiag``: where a network bends, C - 1 rows do not bound the diagonal."""


def residual_model(
    build: Callable[..., nn.Module], classes: int = CLASSES
) -> tuple[nn.Module, Tensor, Tensor]:
    """In evaluation mode, with the running statistics of the batch, every unit off its kink."""
    torch.manual_seed(0)
    model, x = build(num_classes=classes).train(), torch.randn(32, 3, 64, 64)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.bias, -0.5, 0.5)
            norm.momentum = 1.0
    with torch.no_grad():
        model(x)
    return model.eval(), x, torch.arange(32) % CLASSES


def residual_section() -> list[Result]:
    title = "Layers with a path around them, 32 x 3 x 64 x 64, float32, 10 classes"
    section = Section("residual", title)
    for build, layer, hdiag in LAYERS:
        model, x, target = residual_model(build)
        times = rounds(
            {
                "split": partial(
                    bnblind.split_loss, model, layer, x, target, hdiag=hdiag, dtype=torch.float32
                ),
                "rows": partial(peers.output_rows, model, layer, x, CLASSES - 1),
                "plain": partial(peers.plain, model, x, target),
            },
            3,
        )
        name = f"{build.__name__} {layer}" + (", without the diagonal" if hdiag == "none" else "")
        section.add(f"{name}: split / plain pass", ratio(times["split"], times["plain"]), " x")
        section.add("  forward and C - 1 rows / plain", ratio(times["rows"], times["plain"]), " x")
        section.add("  split / those", ratio(times["split"], times["rows"]), " x", most=1.3)
    return section.results


MANY = "layer1.0.bn1"
FEW = 4
"""Images, where there are many classes."""


def classified(classes: int, hdiag: str | int) -> Call:
    model, x, target = residual_model(resnet18, classes)
    few = model, MANY, x[:FEW], target[:FEW]
    return partial(bnblind.split_loss, *few, hdiag=hdiag, dtype=torch.float32)


def classes_section() -> list[Result]:
    """The same layer with 10 and with 1,000 classes: without the diagonal, with probes, exact."""
    section = Section("classes", f"ResNet-18, {MANY}, {FEW} x 3 x 64 x 64, float32")
    calls = {
        f"{hdiag}, {classes}": classified(classes, hdiag)
        for classes in (10, 1000)
        for hdiag in ("none", 64)
    }
    model, x, _ = residual_model(resnet18, 1000)
    calls["exact"] = classified(1000, "auto")
    calls["rows"] = partial(peers.output_rows, model, MANY, x[:FEW], 999)
    times = rounds(calls, 3)
    for hdiag in ("none", 64):
        section.add(f"hdiag={hdiag}: 10 classes", Spread.of(times[f"{hdiag}, 10"]), " s")
        more = ratio(times[f"{hdiag}, 1000"], times[f"{hdiag}, 10"])
        section.add("  1,000 classes / 10", more, " x", most=1.1)
    section.add("exact diagonal, 1,000 classes", Spread.of(times["exact"]), " s")
    section.add(
        "  split / forward and 999 rows", ratio(times["exact"], times["rows"]), " x", most=1.3
    )
    section.add("  peak memory", peak(partial(classified, 1000, "auto")), " MiB")
    return section.results


SECTIONS: Mapping[str, Callable[[], list[Result]]] = {
    "head": head_section,
    "vgg": vgg_section,
    "growth": growth_section,
    "probe": probe_section,
    "curved": curved_section,
    "residual": residual_section,
    "classes": classes_section,
}


def write(name: str, results: list[Result]) -> None:
    """As CSV, and as a table for a page of Markdown."""
    with (OUT / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Result))
        writer.writerows(astuple(result) for result in results)
    lines = ["| measure | median (smallest to largest) | bar |", "|---|---|---|"]
    for result in results:
        spread = f" ({short(result.low)} to {short(result.high)})" if result.repeats > 1 else ""
        bar = f"{result.bar}: {result.verdict}" if result.bar else ""
        # What belongs to the row above is indented.
        measure = re.sub("^ +", "&emsp;", result.measure)
        found = f"{short(result.median)}{result.unit}{spread}"
        lines.append(f"| {measure} | {found} | {bar} |")
    (OUT / f"{name}.md").write_text("\n".join(lines) + "\n")


def main(chosen: list[str]) -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    for name in chosen or SECTIONS:
        write(name, SECTIONS[name]())
    print(f"\nwritten to {OUT}")


if __name__ == "__main__":
    main(sys.argv[1:])
