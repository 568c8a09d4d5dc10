"""Training one cell of the federations, once for each of its seeds."""

import copy

import torch
from torch import Tensor, nn

from bnblind.errors import BadInput
from bnblind.experiments.batching import make_batches, order_hash
from bnblind.experiments.cells import CHUNK
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.federations.cell import FederatedCell
from bnblind.experiments.networks.evaluation import evaluate
from bnblind.experiments.networks.losses import cross_entropy
from bnblind.experiments.networks.models import build_model
from bnblind.experiments.randomness import global_stream, stream
from bnblind.experiments.runs import Run, Weights
from bnblind.experiments.trainer import Row, Samples, Trainer
from bnblind.norms import average_statistics, freeze_statistics


def deal(
    labels: Tensor, clients: int, classes_per_client: int, generator: torch.Generator
) -> list[Tensor]:
    """Each client's samples, positions in ``labels``: client c has the classes c, c + 1, ... modulo
    their number, and the samples of a class are dealt evenly to the clients that have it. Raises
    BadInput if some class would belong to no client.
    """
    classes = len(labels.unique())
    if not 1 <= classes_per_client <= classes or clients < classes:
        raise BadInput(
            f"found {clients} clients with {classes_per_client} classes each; allowed: at least "
            f"{classes} clients, with 1 to {classes} classes each"
        )
    own: list[list[Tensor]] = [[] for _ in range(clients)]
    for label in range(classes):
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        holders = [c for c in range(clients) if (label - c) % classes < classes_per_client]
        for client, part in zip(holders, members.tensor_split(len(holders)), strict=True):
            own[client].append(part)
    return [torch.cat(parts) for parts in own]


def averaged(weights: list[Weights], shares: list[float]) -> Weights:
    """The mean of several networks' parameters and buffers, weighted by ``shares``."""
    return {
        name: sum((share * own[name] for share, own in zip(shares, weights, strict=True)),
                  torch.zeros_like(weights[0][name]))
        for name in weights[0]
    }  # fmt: skip


class FederatedTrainer(Trainer):
    """One seed of federated averaging (McMahan et al. 2017, arXiv:1602.05629): in each round every
    client trains the common network for one pass over its samples, and the networks are averaged,
    running statistics included.

    Metrics: ``train.loss`` is the mean over the round's batches; ``test.eval.accuracy`` that of the
    averaged network in evaluation mode; ``test.recalibrated.accuracy`` that with batch norm's
    averages taken anew from all training images, which tells a mismatch of statistics from
    anything else.
    """

    def __init__(self, cell: FederatedCell, seed: int, data: Dataset) -> None:
        self.cell, self.data = cell, data
        labels = data.train.labels
        dealt = stream(seed, "clients")
        self.clients = deal(labels.cpu(), cell.clients, cell.classes_per_client, dealt)
        with global_stream(seed, "init"):
            model = build_model(cell.model, cell.norm, data.input_shape, data.classes)
        model = model.to(data.device)
        freeze_statistics(model, data.train.chunks(CHUNK))
        super().__init__(cell, seed, labels, model)

    def inputs(self) -> Samples:
        return self.data.train

    def loss(self, inputs: Samples, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss = cross_entropy(self.model(inputs[batch]), self.labels[batch], "mean")
        return loss, {"loss": loss.detach()}

    def train_epoch(self) -> None:
        cell, common = self.cell, copy.deepcopy(self.model.state_dict())
        self.epoch += 1
        total, found = 0.0, list[Weights]()
        for client, rows in enumerate(self.clients):
            self.model.load_state_dict(common)
            self.model.train()
            self.optimizers = self.new_optimizers()
            order = stream(self.run.seed, "batches", self.epoch, client)
            own = make_batches(cell.batching, self.labels[rows].cpu(), cell.batch_size, order)
            batches = [rows[batch] for batch in own]
            self.run.batch_order = order_hash(self.run.batch_order, batches)
            total += self.train_on(batches, client)["loss"] * len(rows)
            found.append(self.copied_weights())
        sizes = [len(rows) for rows in self.clients]
        self.model.load_state_dict(averaged(found, [n / sum(sizes) for n in sizes]))
        self.record_steps({"loss": total / sum(sizes)})

    def measure(self) -> None:
        for name, model in (("eval", self.model), ("recalibrated", self.recalibrated())):
            size, seed = self.cell.batch_size, self.run.seed
            loss, accuracy = evaluate(model, self.data.test, "eval", size, seed)
            self._check_finite(loss, f"the test loss, {name}")
            self.run.record(self.epoch, f"test.{name}", loss=loss, accuracy=accuracy)

    def recalibrated(self) -> nn.Module:
        """A copy whose batch norms average over all training images."""
        model = copy.deepcopy(self.model)
        average_statistics(model, self.data.train.chunks(CHUNK))
        return model

    def report(self) -> str:
        return f"test accuracy {self.latest('test.eval.accuracy'):.3f}"


def judge(cell: FederatedCell, run: Run, data: Dataset) -> tuple[list[Row], dict[str, Tensor]]:
    """All is measured round by round."""
    return [], {}
