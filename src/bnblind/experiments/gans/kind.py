"""GANs as a kind of cells."""

from bnblind.experiments.gans.training import GanTrainer, judge
from bnblind.experiments.trainer import Kind

KIND = Kind(GanTrainer, judge, ("epoch", "metric", "value"))
