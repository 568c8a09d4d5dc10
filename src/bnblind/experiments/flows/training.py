"""Training one cell of the flow experiment: one pair of classes, once for each seed."""

import math

import torch
from torch import Tensor

from bnblind.errors import BadInput
from bnblind.experiments.cells import CHUNK
from bnblind.experiments.datasets import SPLITS, Dataset, Part
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.flows.pixels import bits_per_dimension, dequantize, select_pair
from bnblind.experiments.flows.realnvp import RealNVP, build_flow
from bnblind.experiments.randomness import global_stream, stream
from bnblind.experiments.runs import Run
from bnblind.experiments.trainer import Samples, Trainer
from bnblind.norms import freeze_statistics


def pair_parts(cell: FlowCell, data: Dataset) -> dict[str, Part]:
    """The pair's images of each part, labelled 1 (first class) and 0."""
    return {name: select_pair(getattr(data, name), cell.pair, data.classes) for name in SPLITS}


def noisy(part: Part, seed: int, *names: str | int) -> Tensor:
    """The images of ``part`` dequantized with the stream ``noise/NAMES``."""
    return dequantize(part.pixels, part.scale.levels, stream(seed, "noise", *names))


def initial_flow(cell: FlowCell, seed: int, images: Tensor) -> RealNVP:
    """The untrained flow; the same weights for a seed under every norm and batching."""
    with global_stream(seed, "init"):
        names = ("couplings", "width", "depth", "norm", "coupling_norm", "constraint")
        sizes = {name: getattr(cell, name) for name in names}
        flow = build_flow(cell.coupling, images.shape[1:], **sizes)
    flow = flow.to(images.device)
    freeze_statistics(flow, images.split(CHUNK))
    return flow


def log_likelihoods(flow: RealNVP, images: Tensor) -> Tensor:
    """Log-density at each image in evaluation mode, nats, (n,)."""
    flow.eval()
    with torch.no_grad():
        return torch.cat([flow(some) for some in images.split(512)])


class FlowTrainer(Trainer):
    """One seed of a flow.

    Metrics: ``steps.log_likelihood`` is the mean over the epoch's batches as they were trained,
    ``train.`` and ``validation.log_likelihood`` are measured after it in evaluation mode, in
    nats per image; ``.bits_per_dimension`` is the same in bits per dimension. The weights kept are
    those of the epoch with the best validation likelihood, of a cell without patience the last.
    """

    model: RealNVP

    def __init__(self, cell: FlowCell, seed: int, data: Dataset) -> None:
        self.cell, self.parts = cell, pair_parts(cell, data)
        self.measured = {
            part: noisy(self.parts[part], seed, part) for part in ("train", "validation")
        }
        flow = initial_flow(cell, seed, self.measured["train"])
        super().__init__(cell, seed, self.parts["train"].labels, flow)

    def inputs(self) -> Tensor:
        return noisy(self.parts["train"], self.run.seed, "epoch", self.epoch)

    def loss(self, inputs: Samples, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        likelihood = self.model(inputs[batch]).mean()
        loss = self.cell.scale_regularization * self.model.scale_penalty() - likelihood
        return loss, {"log_likelihood": likelihood.detach()}

    def record_steps(self, means: dict[str, float]) -> None:
        self._record("steps", means["log_likelihood"])

    def _record(self, name: str, log_likelihood: float) -> None:
        train = self.parts["train"]
        dimensions = train.pixels[0].numel()
        bits = bits_per_dimension(log_likelihood, dimensions, train.scale.levels)
        self.run.record(self.epoch, name, log_likelihood=log_likelihood, bits_per_dimension=bits)

    def measure(self) -> None:
        best = max(self._validations(), default=-math.inf)
        for part, images in self.measured.items():
            mean = log_likelihoods(self.model, images).mean().item()
            self._check_finite(mean, f"after its last step: the {part} log-likelihood")
            self._record(part, mean)
        if not self.cell.patience or self._validations()[-1] > best:
            self.run.weights = {self.epoch: self.copied_weights()}

    def _validations(self) -> list[float]:
        return [
            row["value"] for row in self.run.metrics if row["metric"] == "validation.log_likelihood"
        ]

    @property
    def finished(self) -> bool:
        best = max(self.run.weights, default=self.epoch)
        patience = self.cell.patience or math.inf
        return super().finished or self.epoch - best >= patience

    def report(self) -> str:
        train, validation = (
            self.latest(f"{part}.bits_per_dimension") for part in ("train", "validation")
        )
        return f"train {train:.3f}, validation {validation:.3f} bits per dimension"


def best_flow(cell: FlowCell, run: Run, data: Dataset) -> RealNVP:
    """The flow with the weights that ``run`` kept, in evaluation mode."""
    if len(run.weights) != 1:
        raise BadInput(f"a run keeps the weights of its best epoch; found {list(run.weights)}")
    train = noisy(pair_parts(cell, data)["train"], run.seed, "train")
    flow = initial_flow(cell, run.seed, train)
    (weights,) = run.weights.values()
    flow.load_state_dict(weights)
    return flow.eval()
