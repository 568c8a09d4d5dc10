"""The final figures: those of each run's last epoch."""

from bnblind.experiments.networks.summary import final, spread

__all__ = ["final", "spread"]
