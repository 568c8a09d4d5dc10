"""Runs trained without the pipeline around them."""

from bnblind.experiments.runs import Run
from bnblind.experiments.trainer import Trainer


def finished(trainer: Trainer) -> Run:
    """All epochs that are left, trained."""
    while not trainer.finished:
        trainer.advance()
    return trainer.run
