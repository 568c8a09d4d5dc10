"""Classifiers as a kind of cells."""

from bnblind.experiments.networks.training import NetworkTrainer, judge
from bnblind.experiments.trainer import Kind

KIND = Kind(NetworkTrainer, judge, ("epoch", "metric", "value", "batch_order"))
