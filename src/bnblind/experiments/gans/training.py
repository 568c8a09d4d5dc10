"""Training one cell of the GANs, once for each of its seeds."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnblind.experiments.batching import Batches
from bnblind.experiments.cells import CHUNK
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.gans.cell import GENERATOR_NORM, GanCell
from bnblind.experiments.gans.frechet import classifier, features, frechet_distance
from bnblind.experiments.networks.causes import share_blocked_by, watched
from bnblind.experiments.networks.evaluation import preserved
from bnblind.experiments.randomness import global_stream, stream
from bnblind.experiments.runs import Run, Weights
from bnblind.experiments.trainer import Row, Samples, Trainer
from bnblind.norms import Norm, build_norm, freeze_statistics

SLOPE = 0.2
GENERATED = 1000
"""Images that are generated for each measurement."""


def discriminator(inputs: int, cell: GanCell) -> nn.Sequential:
    """Two hidden layers, each with norm and leaky ReLU."""
    width = cell.width
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, width), build_norm(cell.norm, (width,)), nn.LeakyReLU(SLOPE),
        nn.Linear(width, width), build_norm(cell.norm, (width,)), nn.LeakyReLU(SLOPE),
        nn.Linear(width, 1),
    )  # fmt: skip


def generator(inputs: int, cell: GanCell) -> nn.Sequential:
    """Two hidden layers, each with norm and ReLU; pixels from 0 to 1."""
    width = cell.width
    return nn.Sequential(
        nn.Linear(cell.latent, width), build_norm(GENERATOR_NORM, (width,)), nn.ReLU(),
        nn.Linear(width, width), build_norm(GENERATOR_NORM, (width,)), nn.ReLU(),
        nn.Linear(width, inputs), nn.Sigmoid(),
    )  # fmt: skip


class GanTrainer(Trainer):
    """One seed of a GAN with the non-saturating loss (Goodfellow et al. 2014, arXiv:1406.2661).

    Metrics: ``test.frechet`` is the distance of generated from test images, ``real.frechet`` that
    of training images, its floor; ``discriminator.blocked`` is the share of the squared gradient of
    the discriminator's loss that its last norm blocks, on the batches that it is fed, where its
    backward pass is BN's; ``steps.discriminator`` and ``steps.generator`` are mean losses, nats.
    """

    turn = "discriminator"

    def __init__(self, cell: GanCell, seed: int, data: Dataset) -> None:
        self.cell, self.data, shape = cell, data, data.input_shape
        inputs = data.train.pixels[0].numel()
        with global_stream(seed, "init"):
            networks = {"generator": generator(inputs, cell)}
            networks["discriminator"] = discriminator(inputs, cell)
        networks = {name: network.to(data.device) for name, network in networks.items()}
        self.shape = shape
        self.mean, self.std = data.scale.mean.float(), data.scale.std.float()
        freeze_statistics(networks["discriminator"], data.train.chunks(CHUNK))
        self.classifier = classifier(data)
        self.real = features(self.classifier, data.test.images)
        super().__init__(cell, seed, data.train.labels, nn.ModuleDict(networks), **networks)

    def inputs(self) -> Samples:
        return self.data.train

    def generated(self, count: int, noise: torch.Generator) -> Tensor:
        """Images as the data's: scaled pixels, (count, C, H, W)."""
        z = torch.randn(count, self.cell.latent, generator=noise).to(self.mean.device)
        return (self.pixels(z) - self.mean[:, None, None]) / self.std[:, None, None]

    def pixels(self, z: Tensor) -> Tensor:
        """From 0 to 1, (n, C, H, W)."""
        pixels: Tensor = self.networks["generator"](z)
        return pixels.unflatten(1, self.shape)

    def judged(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's logits of real and of generated images."""
        judge = self.networks["discriminator"]
        if self.cell.feed == "apart":
            return judge(real), judge(fake)
        logits = judge(torch.cat([real, fake]))
        return logits[: len(real)], logits[len(real) :]

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        of_real, of_fake = self.judged(real, fake)
        return F.softplus(-of_real).mean() + F.softplus(of_fake).mean()

    def loss(self, inputs: Samples, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """That of the network whose turn it is."""
        real, fake = inputs[batch], self.generated(len(batch), self.noise)
        if self.turn == "discriminator":
            loss = self.discriminator_loss(real, fake.detach())
        else:
            loss = F.softplus(-self.judged(real, fake)[1]).mean()
        return loss, {self.turn: loss.detach()}

    def train_on(self, batches: Batches, *part: int) -> dict[str, float]:
        """For each batch a step of the discriminator, then one of the generator."""
        images, losses = self.inputs(), list[dict[str, Tensor]]()
        self.noise = stream(self.run.seed, "latent", self.epoch, *part)
        for batch in batches:
            losses.append({})
            for self.turn in ("discriminator", "generator"):
                loss, recorded = self.loss(images, batch)
                self.zero_grad()
                loss.backward()
                self.optimizers[self.turn].step()
                losses[-1] |= recorded
        totals = dict.fromkeys(self.optimizers, 0.0)
        for step, recorded in enumerate(losses):
            for turn, loss in recorded.items():
                self._check_finite(loss.item(), f"step {step}: the loss of the {turn}")
                totals[turn] += loss.item() / len(batches)
        return totals

    def record_steps(self, means: dict[str, float]) -> None:
        self.run.record(self.epoch, "steps", **means)

    def measure(self) -> None:
        last = self.epoch == self.cell.epochs
        if self.epoch % self.cell.interval and not last:
            return
        self.model.eval()
        with torch.no_grad():
            drawn = self.generated(GENERATED, stream(self.run.seed, "judged"))
        distance = frechet_distance(features(self.classifier, drawn), self.real)
        self._check_finite(distance, "the Frechet distance")
        self.run.record(self.epoch, "test", frechet=distance)
        if (share := self.blocked()) is not None:
            self.run.record(self.epoch, "discriminator", blocked=share)
        if self.epoch == 0:
            floor = frechet_distance(features(self.classifier, self.data.train.images), self.real)
            self.run.record(0, "real", frechet=floor)
        if last:
            self.run.weights[self.epoch] = self.copied_weights()

    def blocked(self) -> float | None:
        """What the discriminator's last norm blocks of its loss's gradient on one batch of each
        kind; None where its backward pass is not BN's.
        """
        *_, last = (
            layer for layer in self.networks["discriminator"].children() if isinstance(layer, Norm)
        )
        if not last.blocks_as_bn:
            return None
        real = self.data.train[: self.cell.batch_size]
        with preserved(self.model, {}), watched(last) as seen:
            self.model.train()
            fake = self.generated(len(real), stream(self.run.seed, "probed")).detach()
            self.discriminator_loss(real, fake).backward()
        self.zero_grad()
        return share_blocked_by(last, seen)

    def report(self) -> str:
        return f"Frechet distance {self.latest('test.frechet'):.1f}"


def judge(cell: GanCell, run: Run, data: Dataset) -> tuple[list[Row], dict[str, Tensor]]:
    """No further metrics; images that the trained generator draws, (cell.samples, C, H, W)."""
    if cell.epochs not in run.weights:  # diverged
        return [], {}
    network = generator(data.train.pixels[0].numel(), cell)
    network.load_state_dict(by_prefix(run.weights[cell.epochs], "generator."))
    noise = stream(run.seed, "samples")
    with torch.no_grad():
        drawn = network(torch.randn(cell.samples, cell.latent, generator=noise))
    return [], {"generated": drawn.unflatten(1, data.input_shape)}


def by_prefix(weights: Weights, prefix: str) -> Weights:
    return {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}
