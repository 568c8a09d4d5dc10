"""Federations as a kind of cells."""

from bnblind.experiments.federations.training import FederatedTrainer, judge
from bnblind.experiments.trainer import Kind

KIND = Kind(FederatedTrainer, judge, ("epoch", "metric", "value", "batch_order"))
