"""Cost of training the paper's networks, as ratios measured in one run, and the memory it takes.

    python -m bnblind.numerics x86-64-v3 1 python benchmarks/training.py [SECTION ...]

``step``: the pipeline's training step against a bare PyTorch loop; ``levels``: a step under
``x86-64-v3`` against ``fast``; ``words``: a step in bfloat16, compiled, or with channels first
against the plain one; ``augmentation``: an epoch of crops and flips against the transforms
of torchvision, image by image, as the authors use them; ``memory``: at full width.
"""

import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from memory import peak
from timing import Call, Spread, ratio, rounds, seconds
from torch.nn import functional as F
from torchvision import transforms

from bnblind import numerics
from bnblind.experiments.datasets import Dataset, Part, scale_of
from bnblind.experiments.networks.augmentation import Augmented, crop_flip
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.evaluation import evaluate
from bnblind.experiments.networks.training import NetworkTrainer, initial_model
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.declarations.classification import TRAINING

PROFILE = Path("config/images.yaml")
ROUNDS = 9
BATCHES = 2
"""Steps for one measurement."""
FULL = ("vgg11", "resnet18", "densenet121")
BATCH = 128
EVALUATED = 2_560
"""A whole chunk of 2,048 and a rest: more images take no more memory, but that of their pixels."""
EPOCH = 50_000
BY_IMAGE = 5_000
"""Images of the epoch that go through torchvision's transforms, which take the same for each."""


def noise(shape: tuple[int, ...], count: int) -> Dataset:
    """Random grey values, ten classes in turn."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, *shape), generator=generator).byte()
    part = Part(pixels, torch.arange(count) % 10, scale_of(pixels, 256))
    return Dataset(part, part, part)


def cells() -> dict[str, NetworkCell]:
    """A cell of each network and norm of the profile."""
    found: dict[str, NetworkCell] = {}
    for cell in TRAINING.all_cells(read_yaml(PROFILE)):
        assert isinstance(cell, NetworkCell)
        if cell.norm in ("none", "bn", "ln"):
            found.setdefault(f"{cell.model} {cell.norm}", cell)
    return found


class Loop:
    """What anyone would write: the same network and batches, torch's optimizer and no records."""

    def __init__(self, cell: NetworkCell, data: Dataset) -> None:
        self.model, self.images = initial_model(cell, 0, data), data.train.images
        self.labels = data.train.labels
        settings = {name: v for name, v in cell.optimizer_settings.items() if name != "name"}
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=cell.lr, **settings)

    def __call__(self, batches: list[torch.Tensor]) -> None:
        self.model.train()
        for batch in batches:
            loss = F.cross_entropy(self.model(self.images[batch]), self.labels[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def step() -> None:
    print("| network | ms a step | to a bare loop |\n| --- | --- | --- |")
    for name, cell in cells().items():
        data = noise((1, 28, 28), BATCHES * cell.batch_size)
        trainer, loop = NetworkTrainer(cell, 0, data), Loop(cell, data)
        trainer.model.train()
        batches = trainer.epoch_batches()
        calls: dict[str, Call] = {
            "ours": partial(trainer.train_on, batches),
            "bare": partial(loop, batches),
        }
        times = rounds(calls, ROUNDS, times=1)
        ours = 1000 * Spread.of(times["ours"]).median / BATCHES
        spread = ratio(times["ours"], times["bare"])
        told = f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"
        print(f"| {name} | {ours:.0f} | {told} |", flush=True)


def one(name: str) -> None:
    """Seconds of a step, the fastest of five; for :func:`levels`."""
    cell = cells()[name]
    data = noise((1, 28, 28), cell.batch_size)
    trainer = NetworkTrainer(cell, 0, data)
    trainer.model.train()
    batches = trainer.epoch_batches()
    print(min(seconds(partial(trainer.train_on, batches)) for _ in range(5)))


def seconds_under(mode: str, name: str) -> float:
    """Of a step of a network in a process of its own."""
    command = ["python", "-m", "bnblind.numerics", mode, "1", "python", __file__, "one", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def levels() -> None:
    print("| network | x86-64-v3 / fast |\n| --- | --- |")
    for name in cells():
        found = [seconds_under("x86-64-v3", name) / seconds_under("fast", name) for _ in range(3)]
        told = f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
        print(f"| {name} | {told} |", flush=True)


def words() -> None:
    """Each in place of what the pipeline does if nothing is said."""
    print("| network | bfloat16 | compiled | channels first |\n| --- | --- | --- | --- |")
    for name, cell in cells().items():
        data = noise((1, 28, 28), BATCHES * cell.batch_size)
        ways = {
            "plain": cell,
            "bfloat16": replace(cell, precision="bfloat16"),
            "compiled": replace(cell, execution="compiled"),
            "channels first": replace(cell, execution="channels_first"),
        }
        trainers = {way: NetworkTrainer(own, 0, data) for way, own in ways.items()}
        calls: dict[str, Call] = {}
        for way, trainer in trainers.items():
            trainer.model.train()
            calls[way] = partial(trainer.train_on, trainer.epoch_batches())
        times = rounds(calls, ROUNDS, times=1)
        spreads = [ratio(times[way], times["plain"]) for way in list(ways)[1:]]
        told = [f"{own.median:.2f} ({own.low:.2f} to {own.high:.2f})" for own in spreads]
        print(f"| {name} | {' | '.join(told)} |", flush=True)


def augmentation() -> None:
    data = noise((3, 32, 32), EPOCH).train
    ours = Augmented(data, crop_flip, torch.Generator().manual_seed(0))
    batches = torch.randperm(EPOCH).split(BATCH)
    images = [image.permute(1, 2, 0).numpy() for image in data.pixels[:BY_IMAGE]]
    mean, std = data.scale.mean.tolist(), data.scale.std.tolist()
    one_by_one = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    calls = {
        "ours": lambda: [ours[batch] for batch in batches],
        "by image": lambda: [one_by_one(image) for image in images],
    }
    times = rounds(calls, 3, times=1)
    by_image = [EPOCH / BY_IMAGE * t for t in times["by image"]]
    spread = ratio(by_image, times["ours"])
    print("| epoch of 50,000 images of 3 x 32 x 32 | seconds |\n| --- | --- |")
    print(f"| crops and flips of whole batches | {Spread.of(times['ours']).median:.1f} |")
    print(f"| torchvision's transforms, image by image | {Spread.of(by_image).median:.1f} |")
    print(f"| ratio | {spread.median:.1f} ({spread.low:.1f} to {spread.high:.1f}) |")


def full(model: str) -> NetworkCell:
    settings = {"name": "sgd", "momentum": 0.9}
    return NetworkCell(
        dataset="noise", model=model, norm="bn", batching="random", lr=0.01, optimizer=settings,
        batch_size=BATCH, epochs=1, seeds=(0,), snapshots=(),
    )  # fmt: skip


def training_step(model: str) -> Callable[[], object]:
    trainer = NetworkTrainer(full(model), 0, noise((3, 32, 32), BATCH))
    trainer.model.train()
    return partial(trainer.train_on, trainer.epoch_batches())


def evaluation(model: str) -> Callable[[], object]:
    data, cell = noise((3, 32, 32), EVALUATED), full(model)
    network = initial_model(cell, 0, data)
    return partial(evaluate, network, data.test, "eval", BATCH, 0, chunk=cell.chunk)


def memory() -> None:
    print("| full width, 3 x 32 x 32 | a step of 128, MiB | seconds | evaluating, MiB |")
    print("| --- | --- | --- | --- |")
    for model in FULL:
        used = [peak(partial(measured, model)) for measured in (training_step, evaluation)]
        call = training_step(model)
        took = min(seconds(call) for _ in range(3))
        print(f"| {model} | {used[0]:.0f} | {took:.1f} | {used[1]:.0f} |", flush=True)


SECTIONS = {f.__name__: f for f in (step, levels, words, augmentation, memory)}


def main(names: list[str]) -> None:
    numerics.check("x86-64-v3", 1)
    for name in names or SECTIONS:
        SECTIONS[name]()
        print()


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2])
    else:
        main(sys.argv[1:])
