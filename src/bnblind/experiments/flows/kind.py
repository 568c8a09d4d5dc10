"""Flows as a kind of cells."""

from bnblind.experiments.flows.judging import evaluate_run
from bnblind.experiments.flows.training import FlowTrainer
from bnblind.experiments.trainer import Kind

KIND = Kind(FlowTrainer, evaluate_run, ("epoch", "metric", "share", "value"))
