"""Training one cell of the classification grid.

A cell is a combination of data set, model, norm, batching and learning rate; it is trained
once for each of its seeds. Nothing here knows a particular model, norm or batching.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn import functional as F

from bnblind.errors import BadInput, Diverged
from bnblind.experiments.batching import Batches, make_batches, order_hash
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.evaluation import MODES, evaluate
from bnblind.experiments.models import build_model
from bnblind.experiments.optimizers import Optimizer, build_optimizer
from bnblind.experiments.randomness import global_stream, stream
from bnblind.experiments.runs import Run, Weights, by_part, field_values
from bnblind.norms import freeze_statistics


@dataclass(frozen=True)
class Cell:
    """What defines the runs of a cell. ``snapshots``: epochs whose weights are kept, besides
    the initial and the last ones. ``optimizer``: its name and further settings.
    """

    dataset: str
    model: str
    norm: str
    batching: str
    lr: float
    batch_size: int
    epochs: int
    seeds: tuple[int, ...]
    snapshots: tuple[int, ...]
    optimizer: Mapping[str, Any]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Cell":
        """From a mapping of all the fields; lists become tuples."""
        cell = cls(**field_values(cls, settings))
        late = [epoch for epoch in cell.snapshots if epoch > cell.epochs]
        if late:
            raise BadInput(f"snapshots {late} lie after the last epoch, {cell.epochs}")
        return cell

    @property
    def key(self) -> str:
        """What tells it from the other cells of its grid and norm."""
        return f"{self.batching}-lr{self.lr}"

    def name(self, seed: int) -> str:
        words = (self.dataset, self.model, self.norm, self.batching, f"lr {self.lr}")
        return f"{' '.join(words)} seed {seed}"


def initial_model(cell: Cell, seed: int, data: Dataset) -> nn.Module:
    """The untrained network; the same weights for a seed under every norm and batching."""
    with global_stream(seed, "init"):
        model = build_model(cell.model, cell.norm, data.input_shape, data.classes)
    freeze_statistics(model, data.train.images)
    return model


def train_epoch(
    model: nn.Module, optimizer: Optimizer, data: Dataset, batches: Batches, where: str
) -> tuple[float, float]:
    """One pass over ``batches``; mean loss (nats) and accuracy (share) of the steps taken.

    Raises:
        Diverged: a batch's loss is not finite; the weights are those that gave it.
    """
    model.train()
    total = correct = 0.0
    for step, batch in enumerate(batches):
        images, labels = data.train.images[batch], data.train.labels[batch]
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        value = loss.item()
        if not math.isfinite(value):
            raise Diverged(f"{where} step {step}: the training loss is {value}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += value * len(batch)
        correct += (logits.argmax(1) == labels).sum().item()
    seen = sum(map(len, batches))
    return total / seen, correct / seen


def _copy_of(model: nn.Module) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


class Trainer:
    """One seed of a cell, trained an epoch at a time.

    Nothing carries over from epoch to epoch but the weights, the optimizer's state and the
    results: each epoch's batches come from a stream of their own. So a trainer that is given
    another's :meth:`state` goes on to the same bits.

    Metrics: ``train.loss`` and ``train.accuracy`` are means over the epoch's training batches;
    ``PART.MODE.loss`` and ``.accuracy`` are measured after it, in the modes of
    :mod:`bnblind.experiments.evaluation`. Losses are in nats a sample, accuracies are shares.
    """

    def __init__(self, cell: Cell, seed: int, data: Dataset) -> None:
        self.cell, self.data, self.run, self.epoch = cell, data, Run(seed), 0
        self.name = cell.name(seed)
        self.model = initial_model(cell, seed, data)
        settings = {k: v for k, v in cell.optimizer.items() if k != "name"}
        self.optimizer = build_optimizer(
            cell.optimizer["name"], self.model.parameters(), cell.lr, **settings
        )
        self._keep()

    def _keep(self) -> None:
        """Measure the epoch just ended, and keep its weights if they are asked for."""
        run, cell = self.run, self.cell
        for part in ("validation", "test"):
            for mode in MODES:
                samples = getattr(self.data, part)
                result = evaluate(self.model, samples, mode, cell.batch_size, run.seed)
                if not math.isfinite(result[0]):
                    raise Diverged(
                        f"{self.name} epoch {self.epoch} after its last step: "
                        f"the {part} loss in mode {mode} is {result[0]}"
                    )
                loss, accuracy = result
                run.record(self.epoch, f"{part}.{mode}", loss=loss, accuracy=accuracy)
        if self.epoch in (0, *cell.snapshots, cell.epochs):
            run.weights[self.epoch] = _copy_of(self.model)

    def advance(self) -> None:
        """Train and measure one more epoch; raises Diverged if the loss became NaN or infinite."""
        cell, seed, labels = self.cell, self.run.seed, self.data.train.labels
        self.epoch += 1
        order = stream(seed, "batches", self.epoch)
        batches = make_batches(cell.batching, labels, cell.batch_size, order)
        self.run.batch_order = order_hash(self.run.batch_order, batches)
        where = f"{self.name} epoch {self.epoch}"
        loss, accuracy = train_epoch(self.model, self.optimizer, self.data, batches, where)
        self.run.record(self.epoch, "train", loss=loss, accuracy=accuracy)
        self._keep()

    @property
    def finished(self) -> bool:
        return self.epoch >= self.cell.epochs

    def state(self) -> Weights:
        """What the next epochs depend on: weights, buffers and the optimizer's tensors."""
        model = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        optimizer = {f"optimizer/{name}": t for name, t in self.optimizer.state().items()}
        return model | optimizer

    def resume(self, state: Weights, run: Run, epoch: int) -> None:
        """Go on after ``epoch`` of another trainer of the same cell and seed."""
        parts = by_part(state)
        self.model.load_state_dict(parts["model"])
        self.optimizer.load(parts.get("optimizer", {}))
        self.run, self.epoch = run, epoch


def train(cell: Cell, seed: int, data: Dataset) -> Run:
    """Train one seed of ``cell`` on ``data``.

    Raises:
        BadInput: an unknown word in the cell.
        Diverged: the loss became NaN or infinite.
    """
    trainer = Trainer(cell, seed, data)
    while not trainer.finished:
        trainer.advance()
    return trainer.run
