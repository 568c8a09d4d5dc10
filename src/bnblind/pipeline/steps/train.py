"""Step: train the cells of a job, from where an interrupted one left off, and judge the results."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import pandas as pd
from torch import Tensor

from bnblind.errors import Diverged
from bnblind.experiments.cells import Cell, cell_type
from bnblind.experiments.devices import claimed
from bnblind.experiments.runs import Run
from bnblind.experiments.trainer import Kind, Trainer
from bnblind.norms import norm_class
from bnblind.pipeline.checkpoint import Checkpoint, exclusive_lock, identity_of
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.prepared import read_dataset
from bnblind.pipeline.formats.tables import table_bytes
from bnblind.pipeline.formats.tensors import tensors_bytes
from bnblind.pipeline.formats.weights import weights_bytes
from bnblind.pipeline.options import parse

TYPES = {"seed": "int64", "epoch": "int64", "share": "float64", "value": "float64"}


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
            trainer.resume(state, finished[-1], epoch)
            within = f"step {len(trainer.steps)} of " if trainer.steps else ""
            print(f"{trainer.name}: going on after {within}epoch {epoch}", flush=True)
            state = None
        trainer.after_step = partial(checkpoint.save_if_due, runs)
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
        del trainer  # and with it what it keeps in memory, before the next one
    return [(cell, run) for (cell, _), run in zip(planned, runs, strict=True)]


def note(trainer: Trainer) -> None:
    print(
        f"{trainer.name} epoch {trainer.epoch}/{trainer.planned.epochs}: {trainer.report()}",
        flush=True,
    )


def main(argv: list[str]) -> float:
    """Returns the CPU seconds that interrupted processes of this job spent on what it took up."""
    args = parse(
        __name__,
        argv,
        word="kind",
        settings="cells",
        file="prepared checkpoint results",
        optional_file="weights samples",
    )
    kind: Kind = import_module(f"bnblind.experiments.{args.kind}.kind").KIND
    cells = [*map(cell_type(args.kind).from_settings, args.cells)]
    for cell in cells:
        norm_class(cell.norm)  # loads its code now: the checkpoint's identity holds what is loaded
    data = read_dataset(args.prepared)
    rows: list[dict[str, Any]] = []
    samples: dict[str, Tensor] = {}
    (device,) = {cell.device for cell in cells}
    with exclusive_lock(args.checkpoint):
        with claimed(device) as place:
            settings = json.dumps(args.cells, sort_keys=True)
            identity = identity_of(settings, args.prepared, device=str(place))
            checkpoint = Checkpoint(args.checkpoint, identity)
            trained = train_all(cells, partial(kind.start, data=data.to(place)), checkpoint, note)
        for cell, run in trained:
            judged, drawn = kind.judge(cell, run, data)
            what = cell.identity | {"seed": run.seed, "batch_order": run.batch_order}
            rows += [what | row for row in [*run.metrics, *judged]]
            samples |= {f"{cell.key}/seed{run.seed}/{name}": image for name, image in drawn.items()}
        told = dict.fromkeys(name for cell in cells for name in cell.identity)
        # Long form: one row per (cell, seed, epoch, metric), for mixtures per share, too.
        table = pd.DataFrame(rows, columns=[*told, "seed", *kind.columns])
        types = {name: of for name, of in TYPES.items() if name in table}
        contents = {args.results: table_bytes(table.astype(types))}
        if args.weights:
            contents[args.weights] = weights_bytes(trained)
        if args.samples:
            names = {cell.key: cell.identity for cell in cells}
            contents[args.samples] = tensors_bytes(samples, {"cells": names})
        publish(contents)
        checkpoint.remove()
    return checkpoint.spent
