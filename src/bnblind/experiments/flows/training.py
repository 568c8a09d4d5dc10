"""Training one cell of the flow experiment: one pair of classes, once for each seed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bnblind.errors import BadInput, Diverged
from bnblind.experiments.batching import Batches, make_batches
from bnblind.experiments.datasets import Dataset, Part
from bnblind.experiments.flows.pixels import bits_per_dimension, dequantize, select_pair
from bnblind.experiments.flows.realnvp import RealNVP, build_flow
from bnblind.experiments.optimizers import Optimizer, build_optimizer
from bnblind.experiments.randomness import global_stream, stream
from bnblind.experiments.runs import Run, Weights, by_part, field_values
from bnblind.norms import freeze_statistics

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class FlowCell:
    """What defines the runs of a cell.

    ``levels``: grey values of the data set. ``couplings``, ``width``, ``depth``,
    ``constraint``: see :func:`bnblind.experiments.flows.realnvp.build_flow`.
    ``scale_regularization``: weight of the squared gains in the loss. ``patience``: epochs
    without a better validation likelihood after which training ends. ``mixtures`` and
    ``samples``: images to mix for the interpolation curve, and to draw.
    """

    dataset: str
    levels: int
    pair: tuple[int, int]
    coupling: str
    couplings: int
    width: int
    depth: int
    constraint: float
    norm: str
    coupling_norm: str
    batching: str
    lr: float
    optimizer: Mapping[str, Any]
    scale_regularization: float
    batch_size: int
    epochs: int
    patience: int
    mixtures: int
    samples: int
    seeds: tuple[int, ...]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "FlowCell":
        """From a mapping of all the fields; lists become tuples."""
        return cls(**field_values(cls, settings))

    @property
    def pair_name(self) -> str:
        return f"{self.pair[0]}v{self.pair[1]}"

    @property
    def key(self) -> str:
        """What tells it from the other cells of its grid, norm and coupling norm."""
        return f"{self.pair_name}-{self.batching}"

    def name(self, seed: int) -> str:
        words = (self.dataset, self.pair_name, self.coupling, self.norm, self.coupling_norm)
        return f"{' '.join(words)} {self.batching} seed {seed}"


def pair_parts(cell: FlowCell, data: Dataset) -> dict[str, Part]:
    """The pair's images of each part as grey values, labelled 1 (first class) and 0."""
    return {name: select_pair(getattr(data, name), data, cell.pair, cell.levels) for name in PARTS}


def noisy(cell: FlowCell, part: Part, seed: int, *names: str | int) -> Tensor:
    """The images of ``part`` dequantized with the stream ``noise/NAMES``."""
    return dequantize(part.images, cell.levels, stream(seed, "noise", *names))


def initial_flow(cell: FlowCell, seed: int, images: Tensor) -> RealNVP:
    """The untrained flow; the same weights for a seed under every norm and batching."""
    with global_stream(seed, "init"):
        flow = build_flow(
            cell.coupling,
            images.shape[1:],
            couplings=cell.couplings,
            width=cell.width,
            depth=cell.depth,
            norm=cell.norm,
            coupling_norm=cell.coupling_norm,
            constraint=cell.constraint,
        )
    freeze_statistics(flow, images)
    return flow


def log_likelihoods(flow: RealNVP, images: Tensor) -> Tensor:
    """Log-density at each image in evaluation mode, nats, (n,)."""
    flow.eval()
    with torch.no_grad():
        return torch.cat([flow(some) for some in images.split(512)])


def train_epoch(
    flow: RealNVP,
    optimizer: Optimizer,
    images: Tensor,
    batches: Batches,
    scale_regularization: float,
    where: str,
) -> float:
    """One pass over ``batches``; mean log-likelihood (nats) of the steps taken.

    Raises:
        Diverged: a batch's loss is not finite; the weights are those that gave it.
    """
    flow.train()
    total = 0.0
    for step, batch in enumerate(batches):
        likelihood = flow(images[batch]).mean()
        loss = scale_regularization * flow.scale_penalty() - likelihood
        if not math.isfinite(loss.item()):
            raise Diverged(f"{where} step {step}: the training loss is {loss.item()}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += likelihood.item() * len(batch)
    return total / sum(map(len, batches))


class FlowTrainer:
    """One seed of a cell, a :class:`bnblind.experiments.runs.Trainer`.

    Metrics: ``steps.log_likelihood`` is the mean over the epoch's batches as they were trained,
    ``train.`` and ``validation.log_likelihood`` are measured after it in evaluation mode, in
    nats an image; ``.bits_per_dimension`` is the same in bits a dimension. The weights kept are
    those of the epoch with the best validation likelihood.
    """

    def __init__(self, cell: FlowCell, seed: int, data: Dataset) -> None:
        self.cell, self.run, self.epoch, self.name = cell, Run(seed), 0, cell.name(seed)
        self.parts = pair_parts(cell, data)
        self.measured = {
            part: noisy(cell, self.parts[part], seed, part) for part in ("train", "validation")
        }
        self.flow = initial_flow(cell, seed, self.measured["train"])
        settings = {key: value for key, value in cell.optimizer.items() if key != "name"}
        self.optimizer = build_optimizer(
            cell.optimizer["name"], self.flow.parameters(), cell.lr, **settings
        )
        self._keep()

    def _record(self, name: str, log_likelihood: float) -> None:
        dimensions = self.parts["train"].images[0].numel()
        bits = bits_per_dimension(log_likelihood, dimensions, self.cell.levels)
        self.run.record(self.epoch, name, log_likelihood=log_likelihood, bits_per_dimension=bits)

    def _keep(self) -> None:
        """Measure the epoch just ended, and keep its weights if they are the best so far."""
        best = max(self._validations(), default=-math.inf)
        for part, images in self.measured.items():
            mean = log_likelihoods(self.flow, images).mean().item()
            if not math.isfinite(mean):
                raise Diverged(
                    f"{self.name} epoch {self.epoch} after its last step: the {part} "
                    f"log-likelihood is {mean}"
                )
            self._record(part, mean)
        if self._validations()[-1] > best:
            weights = {name: t.detach().clone() for name, t in self.flow.state_dict().items()}
            self.run.weights = {self.epoch: weights}

    def _validations(self) -> list[float]:
        return [
            row["value"] for row in self.run.metrics if row["metric"] == "validation.log_likelihood"
        ]

    @property
    def finished(self) -> bool:
        (best,) = self.run.weights
        return self.epoch >= self.cell.epochs or self.epoch - best >= self.cell.patience

    def advance(self) -> None:
        """Train and measure one more epoch; raises Diverged if the loss became NaN or infinite."""
        cell, seed, part = self.cell, self.run.seed, self.parts["train"]
        self.epoch += 1
        order = stream(seed, "batches", self.epoch)
        batches = make_batches(cell.batching, part.labels, cell.batch_size, order)
        images = noisy(cell, part, seed, "epoch", self.epoch)
        where = f"{self.name} epoch {self.epoch}"
        mean = train_epoch(
            self.flow, self.optimizer, images, batches, cell.scale_regularization, where
        )
        self._record("steps", mean)
        self._keep()

    def state(self) -> Weights:
        """What the next epochs depend on, besides the run: weights, buffers, the optimizer's."""
        flow = {f"flow/{name}": tensor for name, tensor in self.flow.state_dict().items()}
        optimizer = {f"optimizer/{name}": t for name, t in self.optimizer.state().items()}
        return flow | optimizer

    def resume(self, state: Weights, run: Run, epoch: int) -> None:
        """Go on after ``epoch`` of another trainer of the same cell and seed."""
        parts = by_part(state)
        self.flow.load_state_dict(parts["flow"])
        self.optimizer.load(parts.get("optimizer", {}))
        self.run, self.epoch = run, epoch


def train_flow(cell: FlowCell, seed: int, data: Dataset) -> Run:
    """Train one seed of ``cell`` on ``data``.

    Raises:
        BadInput: an unknown word in the cell, or a pair without images.
        Diverged: a likelihood became NaN or infinite.
    """
    trainer = FlowTrainer(cell, seed, data)
    while not trainer.finished:
        trainer.advance()
    return trainer.run


def best_flow(cell: FlowCell, run: Run, data: Dataset) -> RealNVP:
    """The flow with the weights that ``run`` kept, in evaluation mode."""
    if len(run.weights) != 1:
        raise BadInput(f"a run keeps the weights of its best epoch; found {list(run.weights)}")
    train = noisy(cell, pair_parts(cell, data)["train"], run.seed, "train")
    flow = initial_flow(cell, run.seed, train)
    (weights,) = run.weights.values()
    flow.load_state_dict(weights)
    return flow.eval()
