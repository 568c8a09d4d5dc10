"""Training one cell of the classifiers, once for each of its seeds.

Nothing here knows a particular model, norm, loss or batching.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bnblind.experiments.batching import Batches
from bnblind.experiments.datasets import SPLITTINGS, Dataset, Part
from bnblind.experiments.networks.augmentation import AUGMENTATIONS, Augmented
from bnblind.experiments.networks.blocking import blocked_shares, mixture_shares
from bnblind.experiments.networks.causes import blocked_share, feature_statistics, features_before
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.evaluation import evaluate
from bnblind.experiments.networks.losses import training_loss
from bnblind.experiments.networks.models import build_model, kept_model
from bnblind.experiments.randomness import global_stream, stream
from bnblind.experiments.runs import Run
from bnblind.experiments.trainer import Row, Samples, Trainer
from bnblind.norms import Norm, freeze_statistics


def own_data(cell: NetworkCell, seed: int, data: Dataset) -> Dataset:
    return SPLITTINGS[cell.split](data, stream(seed, "split"))


def initial_model(cell: NetworkCell, seed: int, data: Dataset) -> nn.Module:
    """The untrained network; the same weights for a seed under every norm and batching."""
    with global_stream(seed, "init"):
        model = build_model(
            cell.model, cell.norm, data.input_shape, data.classes, cell.init, **cell.options
        )
    model = model.to(data.device).to(memory_format=torch.channels_last)  # faster convolutions
    freeze_statistics(model, data.train.chunks(cell.chunk))
    return model


def keep_norms_exact(model: nn.Module) -> None:
    """Give the norms float32, whatever the layers before them yield."""
    for layer in model.modules():
        if isinstance(layer, Norm):
            layer.register_forward_pre_hook(lambda _, args: (args[0].float(),))


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let a GPU multiply in TF32, or not, as long as this lasts."""
    kinds: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [kind.allow_tf32 for kind in kinds]
    try:
        for kind in kinds:
            kind.allow_tf32 = allowed
        yield
    finally:
        for kind, own in zip(kinds, before, strict=True):
            kind.allow_tf32 = own


class NetworkTrainer(Trainer):
    """One seed of a classifier.

    Metrics: ``train.loss`` and ``train.accuracy`` are means over the epoch's training batches;
    ``PART.MODE.loss`` and ``.accuracy`` are measured after those in ``cell.modes``.
    Losses are in nats per sample, accuracies are shares.
    """

    def __init__(self, cell: NetworkCell, seed: int, data: Dataset) -> None:
        self.cell, self.of_logits = cell, training_loss(cell.loss)
        self.data = data = own_data(cell, seed, data)
        model = initial_model(cell, seed, data)
        self.low_precision = cell.precision == "bfloat16"
        if self.low_precision:
            keep_norms_exact(model)
        if cell.execution == "channels_first":
            model.to(memory_format=torch.contiguous_format)
        self.forward = torch.compile(model) if cell.execution == "compiled" else model
        super().__init__(cell, seed, data.train.labels, model)

    def train_on(self, batches: Batches, *part: int) -> dict[str, float]:
        with tf32(self.cell.precision == "tf32"):
            return super().train_on(batches, *part)

    def inputs(self) -> Samples:
        if self.cell.augment == NetworkCell.augment:
            return self.data.train
        change = AUGMENTATIONS[self.cell.augment]
        return Augmented(self.data.train, change, stream(self.run.seed, "augmentation", self.epoch))

    def loss(self, inputs: Samples, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        labels = self.labels[batch]
        logits = self.logits(inputs[batch])
        loss = self.of_logits(logits, labels, "mean")
        correct = (logits.argmax(1) == labels).sum()
        return loss, {"loss": loss.detach(), "accuracy": correct}

    def logits(self, images: Tensor) -> Tensor:
        if not self.low_precision:
            return self.forward(images)
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.forward(images).float()

    def measure(self) -> None:
        run, cell = self.run, self.cell
        measured = {row["metric"] for row in run.metrics if row["epoch"] == self.epoch}
        for part in ("validation", "test"):
            for mode in cell.modes(part, self.epoch):
                if f"{part}.{mode}.loss" in measured:
                    continue
                samples: Part = getattr(self.data, part)
                if cell.evaluated and self.epoch < cell.epochs:
                    samples = samples.first(cell.evaluated)
                loss, accuracy = evaluate(
                    self.model, samples, mode, cell.batch_size, run.seed, cell.loss, cell.chunk,
                    self.under_way, lambda: self.after_step(self),
                )  # fmt: skip
                self._check_finite(loss, f"after its last step: the {part} loss in mode {mode}")
                run.record(self.epoch, f"{part}.{mode}", loss=loss, accuracy=accuracy)
        if self.epoch in cell.kept_epochs([]):
            run.weights[self.epoch] = self.copied_weights()

    def report(self) -> str:
        told = f"train loss {self.latest('train.loss'):.4f}"
        if not self.cell.modes("validation", self.epoch):
            return told
        return f"{told}, validation accuracy {self.latest('validation.eval.accuracy'):.3f}"


def judge(cell: NetworkCell, run: Run, data: Dataset) -> tuple[list[Row], dict[str, Tensor]]:
    """Of every kept epoch, on ``cell.probed`` batches of the cell's own batching, metrics
    ``LAYER.mean_share``, ``.scale_share`` and ``.passing``, of the start those of
    :func:`bnblind.experiments.networks.blocking.mixture_shares`, too; if the cell asks for
    ``features``, those of the test images before the first norm, ``features.NAME``, and the share
    that is blocked there, ``blocked``. No images.
    """
    rows: list[Row] = []
    data = own_data(cell, run.seed, data)
    for epoch, weights in run.weights.items() if cell.probed else ():
        model = kept_model(cell, data, weights)
        if cell.features:
            x = features_before(model, data.test.chunks(cell.chunk))
            told = feature_statistics(x, data.test.labels)
            found = {f"features.{name}": value for name, value in told.items()}
            if (share := blocked_share(model, data.train, cell, run.seed)) is not None:
                found["blocked"] = share
        else:
            found = blocked_shares(model, data.train, cell, run.seed)
            if epoch == 0:
                found |= mixture_shares(model, data.train, cell, run.seed)
        rows += [{"epoch": epoch, "metric": name, "value": v} for name, v in found.items()]
    return rows, {}
