"""Training all runs of a job, from where an interrupted one left off."""

from collections.abc import Callable, Sequence

from bnblind.errors import Diverged
from bnblind.experiments.cells import Cell
from bnblind.experiments.runs import Run
from bnblind.experiments.trainer import Trainer
from bnblind.pipeline.checkpoint import Checkpoint


def train_all(
    cells: Sequence[Cell],
    start: Callable[[Cell, int], Trainer],
    checkpoint: Checkpoint,
    progress: Callable[[Trainer], None],
) -> list[tuple[Cell, Run]]:
    """Train every seed of every cell, one after the other, with the trainer that ``start`` makes.

    Goes on from the checkpoint if there is one, and saves it on the way.

    Of a cell that ``may_diverge``, a run whose loss is no longer finite ends there, with a metric
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
            if not cell.may_diverge:
                raise
            print(error, flush=True)
            trainer.run.metrics.append({"epoch": trainer.epoch, "metric": "diverged", "value": 1.0})
        runs.append(trainer.run)
    return [(cell, run) for (cell, _), run in zip(planned, runs, strict=True)]
