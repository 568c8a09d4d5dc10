"""Training all runs of a job, from where an interrupted one left off."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from bnblind.errors import Diverged
from bnblind.experiments.runs import Cell, Run, Trainer
from bnblind.pipeline.checkpoint import Checkpoint
from bnblind.pipeline.tensors import tensors_bytes

C = TypeVar("C", bound=Cell)
T = TypeVar("T", bound=Trainer)


def weights_bytes(trained: Iterable[tuple[Any, Run]]) -> bytes:
    """All kept weights of a job's cells (dataclasses with a ``key``) and the cells' settings.

    Tensors are named ``KEY/seed10/epoch012/NAME``.
    """
    tensors, cells = {}, {}
    for cell, run in trained:
        cells[cell.key] = dataclasses.asdict(cell)
        for epoch, weights in run.weights.items():
            for name, tensor in weights.items():
                tensors[f"{cell.key}/seed{run.seed}/epoch{epoch:03d}/{name}"] = tensor
    return tensors_bytes(tensors, {"cells": list(cells.values())})


def train_all(
    cells: Sequence[C],
    start: Callable[[C, int], T],
    checkpoint: Checkpoint,
    progress: Callable[[T], None],
    *,
    diverging: bool = False,
) -> list[tuple[C, Run]]:
    """Train every seed of every cell, one after the other, with the trainer that ``start`` makes.

    Goes on from the checkpoint if there is one, and saves it on the way.

    With ``diverging`` a run whose loss is no longer finite ends there, with a metric
    ``diverged`` at the epoch in which it happened, and the next one follows.
    """
    finished, epoch, state = checkpoint.load() or ([], 0, None)
    runs = [*finished[:-1]]
    planned = [(cell, seed) for cell in cells for seed in cell.seeds]
    for cell, seed in planned[len(runs) :]:
        trainer = start(cell, seed)
        if state:
            print(f"{trainer.name}: going on after epoch {epoch}", flush=True)
            trainer.resume(state, finished[-1], epoch)
            state = None
        try:
            while not trainer.finished:
                trainer.advance()
                progress(trainer)
                checkpoint.save_if_due(runs, trainer)
        except Diverged as error:
            if not diverging:
                raise
            print(error, flush=True)
            trainer.run.metrics.append({"epoch": trainer.epoch, "metric": "diverged", "value": 1.0})
        runs.append(trainer.run)
    return [(cell, run) for (cell, _), run in zip(planned, runs, strict=True)]
