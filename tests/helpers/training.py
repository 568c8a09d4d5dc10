"""Runs trained without the pipeline around them."""

from typing import Any

from bnblind.experiments.cells import Cell
from bnblind.experiments.federations.cell import FederatedCell
from bnblind.experiments.federations.training import FederatedTrainer
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.flows.training import FlowTrainer
from bnblind.experiments.gans.cell import GanCell
from bnblind.experiments.gans.training import GanTrainer
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.training import NetworkTrainer
from bnblind.experiments.runs import Run
from bnblind.experiments.trainer import Trainer

COMMON: dict[str, Any] = {
    "dataset": "digits",
    "norm": "bn",
    "batching": "label",
    "lr": 0.001,
    "optimizer": {"name": "adam"},
    "batch_size": 64,
    "epochs": 2,
    "seeds": (0,),
}
CELLS: dict[str, tuple[type[Trainer], Cell]] = {
    "networks": (
        NetworkTrainer,
        NetworkCell(model="mini_vgg", snapshots=(), augment="crop_flip", **COMMON),
    ),
    "flows": (
        FlowTrainer,
        FlowCell(
            pair=(9, 8), coupling="conv", couplings=2, width=4, depth=1, constraint=0.9,
            coupling_norm="bn", scale_regularization=1e-4, patience=0, mixtures=8, samples=2,
            **COMMON,
        ),
    ),
    "gans": (
        GanTrainer, GanCell(feed="apart", width=8, latent=4, interval=1, samples=2, **COMMON),
    ),
    "federations": (
        FederatedTrainer, FederatedCell(model="mlp", classes_per_client=2, clients=10, **COMMON),
    ),
}  # fmt: skip
"""A small one of each kind."""


def finished(trainer: Trainer) -> Run:
    """All epochs that are left, trained."""
    while not trainer.finished:
        trainer.advance()
    return trainer.run
