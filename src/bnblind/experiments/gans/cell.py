"""The cell of a generative adversarial network."""

from dataclasses import dataclass

from bnblind.experiments.cells import Cell, identity

FEEDS: dict[str, str] = {
    "apart": "real and generated images in batches of their own, each of which shares a loss",
    "mixed": "together in one batch",
}

GENERATOR_NORM = "ln"
"""Couples no samples."""

CLASSIFIER_NORM = "none"
"""Of the classifier in whose features images are compared."""


@dataclass(frozen=True, kw_only=True)
class GanCell(Cell):
    """What defines the runs of a GAN; its norm is that of the discriminator.

    Attributes:
        feed: how images reach the discriminator, a name of ``FEEDS``.
        width: hidden units of both networks.
        latent: entries of the generator's input.
        interval: epochs from one measurement to the next.
    """

    feed: str = identity(4, axis="feeds", compared=True)
    width: int
    latent: int
    interval: int
    samples: int

    @property
    def norms(self) -> set[str]:
        return {self.norm, GENERATOR_NORM, CLASSIFIER_NORM}

    def kept_epochs(self, found: list[int]) -> list[int]:
        """The last."""
        return [self.epochs]


CELL = GanCell
