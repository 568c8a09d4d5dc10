"""Cost of training the paper's networks, as ratios measured in one run, and the memory it takes.

    python -m bnblind.numerics x86-64-v3 1 python benchmarks/training.py [SECTION ...]

``step``: the pipeline's training step against a bare PyTorch loop; ``levels``: a step under
``x86-64-v3`` against ``fast``; ``words``: a step in bfloat16, compiled, or with channels first
against the plain one; ``augmentation``: an epoch of crops and flips against the transforms
of torchvision, image by image, as the authors use them; ``memory``: at full width.
"""

import copy
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from memory import peak
from timing import Call, Spread, ratio, rounds, seconds
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms

from bnblind import numerics
from bnblind.experiments.cells import Cell
from bnblind.experiments.datasets import Dataset, Part, scale_of
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.flows.training import FlowTrainer
from bnblind.experiments.networks.augmentation import Augmented, crop_flip
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.evaluation import evaluate
from bnblind.experiments.networks.training import NetworkTrainer, initial_model
from bnblind.experiments.trainer import Trainer
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.declarations import classification, flows

PROFILE = Path("config/images.yaml")
ROUNDS = 9
BATCHES = 2
"""Steps for one measurement."""
FULL = ("vgg11", "resnet18", "densenet121")
BATCH = 128
IMAGES = 10_000
STEPS = 3
"""The first makes the optimizer's state; those after it take the most, all alike."""
EPOCH = 50_000
BY_IMAGE = 5_000
"""Images of the epoch that go through torchvision's transforms, which take the same for each."""


def noise(shape: tuple[int, ...], count: int) -> Dataset:
    """Random grey values, ten classes in turn."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
    part = Part(pixels, torch.arange(count) % 10, scale_of(pixels, 256))
    return Dataset(part, part, part)


def cells() -> dict[str, Cell]:
    """A cell of each network and norm of the profile."""
    found: dict[str, Cell] = {}
    for training in (classification.TRAINING, flows.TRAINING):
        for cell in training.all_cells(read_yaml(PROFILE)):
            if cell.norm in ("none", "bn", "ln"):
                found.setdefault(f"{getattr(cell, 'model', 'realnvp')} {cell.norm}", cell)
    return found


def trainer_of(cell: Cell, batches: int = BATCHES) -> Trainer:
    """In training mode, on random images of the profile's size, so many batches of them."""
    trainer: Trainer
    if isinstance(cell, NetworkCell):
        trainer = NetworkTrainer(cell, 0, noise((1, 28, 28), batches * cell.batch_size))
    else:
        assert isinstance(cell, FlowCell)
        # A pair is two of ten classes.
        trainer = FlowTrainer(cell, 0, noise((1, 14, 14), 5 * batches * cell.batch_size))
    trainer.model.train()
    return trainer


def bare(trainer: Trainer) -> Callable[[list[Tensor]], None]:
    """What anyone would write: the trainer's network, torch's optimizer and no records."""
    cell, model = trainer.planned, copy.deepcopy(trainer.model)
    settings = cell.optimizer_settings
    kind = {"sgd": torch.optim.SGD, "adamax": torch.optim.Adamax}[settings.pop("name")]
    optimizer = kind(model.parameters(), lr=cell.lr, **settings)
    images, loss_of = losses(trainer, model)

    def loop(batches: list[Tensor]) -> None:
        for batch in batches:
            loss = loss_of(images[batch], batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return loop


def losses(trainer: Trainer, model: Any) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """All images, and the loss of some of them at their positions."""
    if isinstance(trainer, FlowTrainer):
        weight = trainer.cell.scale_regularization
        return trainer.inputs(), lambda x, _: weight * model.scale_penalty() - model(x).mean()
    assert isinstance(trainer, NetworkTrainer)
    images, labels = trainer.data.train.images, trainer.labels
    return images, lambda x, batch: F.cross_entropy(model(x), labels[batch])


def step() -> None:
    print("| network | ms a step | to a bare loop |\n| --- | --- | --- |")
    for name, cell in cells().items():
        trainer = trainer_of(cell)
        batches = trainer.epoch_batches()
        calls: dict[str, Call] = {
            "ours": partial(trainer.train_on, batches),
            "bare": partial(bare(trainer), batches),
        }
        times = rounds(calls, ROUNDS, times=1)
        ours = 1000 * Spread.of(times["ours"]).median / BATCHES
        spread = ratio(times["ours"], times["bare"])
        told = f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"
        print(f"| {name} | {ours:.0f} | {told} |", flush=True)


def one(name: str) -> None:
    """Seconds of a step, the fastest of five; for :func:`levels`."""
    trainer = trainer_of(cells()[name], batches=1)
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
        if not isinstance(cell, NetworkCell):
            continue
        ways = {
            "plain": cell,
            "bfloat16": replace(cell, precision="bfloat16"),
            "compiled": replace(cell, execution="compiled"),
            "channels first": replace(cell, execution="channels_first"),
        }
        calls: dict[str, Call] = {}
        for way, own in ways.items():
            trainer = trainer_of(own)
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


def training(model: str) -> Callable[[], object]:
    trainer = NetworkTrainer(full(model), 0, noise((3, 32, 32), IMAGES))
    trainer.model.train()
    return partial(trainer.train_on, trainer.epoch_batches()[:STEPS])


def evaluation(model: str) -> Callable[[], object]:
    data, cell = noise((3, 32, 32), IMAGES), full(model)
    network = initial_model(cell, 0, data)
    return partial(evaluate, network, data.test, "eval", BATCH, 0, chunk=cell.chunk)


def memory() -> None:
    print("| full width, 3 x 32 x 32 | training, MiB | s a step | evaluating, MiB | s |")
    print("| --- | --- | --- | --- | --- |")
    for model in FULL:
        told = [model]
        for measured, parts in ((training, STEPS), (evaluation, 1)):
            used = peak(partial(measured, model))
            told += [f"{used:.0f}", f"{seconds(measured(model)) / parts:.1f}"]
        print(f"| {' | '.join(told)} |", flush=True)


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
