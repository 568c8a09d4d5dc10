"""Training one seed of a cell, one epoch at a time; the cell's kind says what is trained."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bnblind.errors import Diverged
from bnblind.experiments.batching import Batches, make_batches, order_hash
from bnblind.experiments.cells import Cell
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.optimizers import Optimizer, build_optimizer
from bnblind.experiments.randomness import global_stream, random_state, set_random_state, stream
from bnblind.experiments.runs import Run, Weights, by_part

Row = dict[str, Any]
Step = tuple[Tensor, dict[str, Tensor]]
"""Its loss, and what else is recorded of it; scalars."""


class Samples(Protocol):
    """Those at positions (n,) of an epoch's N samples, (n, ...): a tensor (N, ...), or a part."""

    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


class Trainer(ABC):
    """One seed of a cell, trained one epoch at a time.

    Nothing carries over from epoch to epoch but the weights, the optimizer's state and the
    results: each epoch's batches come from a stream of their own. Within an epoch, what its steps
    have recorded carries over, and the global generator. So a trainer that is given another's
    :meth:`state`, which may be taken in ``after_step``, goes on to the same bits. The start is
    measured by the first :meth:`advance`, not by the constructor, so a resumed run does not pay
    for it again.

    Args:
        labels: (N,) of the training samples, which the batching sorts into batches.
        model: to be trained, initialized; on the device of the labels.
        networks: its parts with an optimizer of their own, by name; the whole if none are given.
    """

    def __init__(
        self, cell: Cell, seed: int, labels: Tensor, model: nn.Module, **networks: nn.Module
    ) -> None:
        self.networks = networks or {"whole": model}
        self.run, self.epoch, self.name = Run(seed), 0, cell.name(seed)
        self.planned, self.labels, self.model = cell, labels, model
        self.optimizers = self.new_optimizers()
        self.after_step: Callable[[Trainer], object] = lambda trainer: None
        self.steps: list[Step] = []  # of an epoch under way
        self.random: Weights = {}  # the global generators' states where it is taken up
        self.unmeasured = True  # the present epoch, in whole or in part
        self.under_way: Weights = {}  # of a measurement that is being made

    def new_optimizers(self) -> dict[str, Optimizer]:
        settings = {"lr": self.planned.lr, **self.planned.optimizer_settings}
        return {
            name: build_optimizer(parameters=part.parameters(), **settings)
            for name, part in self.networks.items()
        }

    def zero_grad(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    @abstractmethod
    def inputs(self) -> Samples:
        """The training samples of the present epoch."""

    @abstractmethod
    def loss(self, inputs: Samples, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the ``batch`` at these positions of ``inputs``, and what is recorded of the
        epoch: means over the batch, or counts, which are of integers.
        """

    def record_steps(self, means: dict[str, float]) -> None:
        """Note the means over the epoch's samples, as they were trained."""
        self.run.record(self.epoch, "train", **means)

    @abstractmethod
    def measure(self) -> None:
        """Measure the epoch just ended, and keep its weights if they are asked for. May call
        ``after_step`` on the way, and then goes on with ``under_way`` and passes over what the run
        has recorded already.
        """

    @abstractmethod
    def report(self) -> str:
        """How the run stands, in a few words."""

    @property
    def finished(self) -> bool:
        return self.epoch >= self.planned.epochs and not self.steps and not self.unmeasured

    def advance(self) -> None:
        """Train and measure one more epoch, or measure what an interrupted one has left; raises
        Diverged if a batch's loss, or what is measured, is not finite.
        """
        if self.unmeasured:
            self._measure()
            if self.epoch or self.finished:
                return
        self.train_epoch()
        self._measure()

    def _measure(self) -> None:
        self.unmeasured = True
        self.measure()
        self.unmeasured = False

    def train_epoch(self) -> None:
        self.epoch += not self.steps
        batches = self.epoch_batches()
        if not self.steps:
            self.run.batch_order = order_hash(self.run.batch_order, batches)
        self.model.train()
        self.record_steps(self.train_on(batches))

    def epoch_batches(self) -> Batches:
        """Of a pass over the training part, or of as many as the cell's number takes."""
        cell, passes = self.planned, 0
        batches: Batches = []
        while not passes or len(batches) < (cell.batches_per_epoch or 0):
            own = (passes,) if passes else ()
            order = stream(self.run.seed, "batches", self.epoch, *own)
            batches += make_batches(cell.batching, self.labels.cpu(), cell.batch_size, order)
            passes += 1
        return batches[: cell.batches_per_epoch]

    def train_on(self, batches: Batches, *part: int) -> dict[str, float]:
        """One step on each batch; the means over the samples of what is recorded. A ``part`` of the
        epoch has random numbers of its own.
        """
        inputs, found = self.inputs(), [] if part else self.steps
        for batch in batches[: len(found)]:
            inputs[batch]  # augmentation draws anew what it drew
        with global_stream(self.run.seed, "steps", self.epoch, *part):  # dropout draws from it
            set_random_state(self.random)
            self.random = {}
            for batch in batches[len(found) :]:
                loss, recorded = self.loss(inputs, batch)
                self.zero_grad()
                loss.backward()
                for optimizer in self.optimizers.values():
                    optimizer.step()
                found.append((loss.detach(), recorded))
                if not part:
                    self.after_step(self)
        # Numbers are read at the end: a GPU would have to finish each step for it.
        totals = dict[str, float]()
        for step, (batch, (loss, recorded)) in enumerate(zip(batches, found, strict=True)):
            self._check_finite(loss.item(), f"step {step}: the training loss")
            for name, value in recorded.items():
                samples = len(batch) if value.is_floating_point() else 1
                totals[name] = totals.get(name, 0.0) + value.item() * samples
        found.clear()
        seen = sum(map(len, batches))
        return {name: total / seen for name, total in totals.items()}

    def _check_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise Diverged(f"{self.name} epoch {self.epoch} {what} is {value}")

    def latest(self, metric: str) -> float:
        values = (row["value"] for row in reversed(self.run.metrics) if row["metric"] == metric)
        return float(next(values))

    def copied_weights(self) -> Weights:
        """On the processor, whatever the device."""
        state = self.model.state_dict().items()
        return {name: tensor.detach().clone().cpu() for name, tensor in state}

    def state(self) -> Weights:
        """What comes next depends on, besides the run: weights, buffers, the optimizers', of an
        epoch under way what its steps recorded and the generators' states, and of a measurement
        under way what it has found.
        """
        parts = {"model": self.model.state_dict()}
        parts |= {f"optimizer of {name}": own.state() for name, own in self.optimizers.items()}
        if self.steps:
            losses, recorded = zip(*self.steps, strict=True)
            parts["losses"] = {"": torch.stack(losses)}
            # Numbered, since the order of names is that in which they are recorded.
            parts["recorded"] = {
                f"{place}/{name}": torch.stack([step[name] for step in recorded])
                for place, name in enumerate(recorded[0])
            }
            parts["random"] = random_state()
        if self.unmeasured:
            parts["unmeasured"] = {"": torch.ones(())}
            parts["under way"] = self.under_way
        return {f"{part}/{n}": t.cpu() for part, own in parts.items() for n, t in own.items()}

    def resume(self, state: Weights, run: Run, epoch: int) -> None:
        """Go on after ``epoch``, or within it, of another trainer of the same cell and seed."""
        parts = by_part(state)
        self.model.load_state_dict(parts["model"])
        for part, optimizer in self.optimizers.items():
            optimizer.load(parts.get(f"optimizer of {part}", {}))
        self.run, self.epoch, self.unmeasured = run, epoch, "unmeasured" in parts
        self.under_way = parts.get("under way", {})
        if "losses" in parts:
            place = self.labels.device  # that of the steps to come
            recorded = {
                name.split("/", 1)[1]: own.to(place)
                for name, own in sorted(parts.get("recorded", {}).items())
            }
            self.steps = [
                (loss, {name: own[step] for name, own in recorded.items()})
                for step, loss in enumerate(parts["losses"][""].to(place))
            ]
            self.random = parts["random"]


@dataclass(frozen=True)
class Kind:
    """What the pipeline needs of a kind of cells; ``KIND`` of its module ``kind``.

    Attributes:
        start: cell, seed and data -> its trainer.
        judge: cell, finished run and data -> further rows of results, and images by name.
        columns: of the table of results, after the cell's identity and the seed.
    """

    start: Callable[..., Trainer]
    judge: Callable[[Any, Run, Dataset], tuple[list[Row], dict[str, Tensor]]]
    columns: tuple[str, ...]
