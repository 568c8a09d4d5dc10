"""A small flow on digits."""

from typing import Any

import torch

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.flows.training import FlowTrainer
from bnblind.experiments.runs import Run, Weights
from tests.helpers.training import finished

SETTINGS: dict[str, Any] = {
    **{"dataset": "digits", "pair": [9, 8], "coupling": "mlp", "couplings": 2},
    **{"width": 16, "depth": 1, "constraint": 0.9, "norm": "bn", "coupling_norm": "scalar"},
    **{"batching": "label", "lr": 0.001, "optimizer": {"name": "adamax"}, "batch_size": 64},
    **{"scale_regularization": 5e-5, "epochs": 3, "patience": 3, "mixtures": 20, "samples": 4},
    "seeds": [0, 1],
}


def cell(**changes: Any) -> FlowCell:
    return FlowCell.from_settings({**SETTINGS, **changes})


def train(cell: FlowCell, seed: int, data: Dataset) -> Run:
    return finished(FlowTrainer(cell, seed, data))


def same_weights(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
