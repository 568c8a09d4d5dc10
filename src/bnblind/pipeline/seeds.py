"""Training all seeds of a cell in one job, from where an interrupted one left off."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bnblind.experiments.runs import Run, Trainer
from bnblind.pipeline.checkpoint import Checkpoint
from bnblind.pipeline.tensors import tensors_bytes

T = TypeVar("T", bound=Trainer)


def weights_bytes(cell: Any, runs: list[Run]) -> bytes:
    """All kept weights of the cell (a dataclass), tensors named ``seed10/epoch012/NAME``."""
    tensors = {
        f"seed{run.seed}/epoch{epoch:03d}/{name}": tensor
        for run in runs
        for epoch, weights in run.weights.items()
        for name, tensor in weights.items()
    }
    return tensors_bytes(tensors, dataclasses.asdict(cell))


def train_all(
    seeds: Sequence[int],
    trainer_of: Callable[[int], T],
    checkpoint: Checkpoint,
    progress: Callable[[T], None],
) -> list[Run]:
    """Train every seed, from the checkpoint if there is one, saving it after each epoch."""
    finished, epoch, state = checkpoint.load() or ([], 0, None)
    runs = [*finished[:-1]]
    for seed in seeds[len(runs) :]:
        trainer = trainer_of(seed)
        if state:
            print(f"{trainer.name}: going on after epoch {epoch}", flush=True)
            trainer.resume(state, finished[-1], epoch)
            state = None
        while not trainer.finished:
            trainer.advance()
            progress(trainer)
            checkpoint.save_if_due(runs, trainer)
        runs.append(trainer.run)
    return runs
