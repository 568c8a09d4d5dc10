"""Step: train the cells of one norm in a classification grid, one after the other."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.runs import Run
from bnblind.experiments.training import Cell, Trainer
from bnblind.pipeline.checkpoint import Checkpoint, alone, identity_of
from bnblind.pipeline.files import publish, table_bytes
from bnblind.pipeline.prepared import read_dataset
from bnblind.pipeline.seeds import train_all, weights_bytes

KEY = ("dataset", "model", "norm", "batching", "lr")


def results_table(trained: Iterable[tuple[Cell, Run]]) -> pd.DataFrame:
    """Long form: one row a (dataset, model, norm, batching, lr, seed, epoch, metric).

    ``batch_order`` is the same in all rows of a seed: the hash of its training batches.
    """
    rows: list[dict[str, Any]] = []
    for cell, run in trained:
        key = {name: getattr(cell, name) for name in KEY}
        seed, order = {"seed": run.seed}, {"batch_order": run.batch_order}
        rows += [key | seed | row | order for row in run.metrics]
    return pd.DataFrame(rows).astype({"seed": "int64", "epoch": "int64", "value": "float64"})


class Progress:
    """A bar on a terminal, a line an epoch elsewhere; ``epochs`` of all runs together."""

    def __init__(self, epochs: int) -> None:
        self.bar = tqdm(total=epochs, unit="epoch") if sys.stderr.isatty() else None

    def __call__(self, trainer: Trainer) -> None:
        run, epoch = trainer.run, trainer.epoch
        latest = {row["metric"]: row["value"] for row in run.metrics if row["epoch"] == epoch}
        loss, accuracy = latest["train.loss"], latest["validation.eval.accuracy"]
        state = f"train loss {loss:.4f} nats, validation accuracy {accuracy:.3f}"
        name = trainer.name
        if self.bar is None:
            print(f"{name} epoch {epoch}/{trainer.cell.epochs}: {state}", flush=True)
        else:
            self.bar.set_description(f"{name}: {state}")
            self.bar.update()


def train_runs(
    cells: Sequence[Cell], data: Dataset, checkpoint: Checkpoint, *, diverging: bool = False
) -> list[tuple[Cell, Run]]:
    """Train every seed of every cell, one after the other; see :func:`train_all`."""
    progress = Progress(sum(cell.epochs * len(cell.seeds) for cell in cells))
    start = partial(Trainer, data=data)
    return train_all(cells, start, checkpoint, progress, diverging=diverging)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("--cells", type=json.loads, required=True, help="settings of the cells")
    parser.add_argument("--prepared", type=Path, required=True, help="data set to read")
    parser.add_argument("--checkpoint", type=Path, required=True, help="to go on from")
    parser.add_argument("--weights", type=Path, required=True, help="weights to write")
    parser.add_argument("--results", type=Path, required=True, help="metrics to write")
    args = parser.parse_args(argv)

    cells = [Cell.from_settings(settings) for settings in args.cells]
    data = read_dataset(args.prepared)
    identity = identity_of(json.dumps(args.cells, sort_keys=True), args.prepared)
    checkpoint = Checkpoint(args.checkpoint, identity)
    with alone(args.checkpoint):
        trained = train_runs(cells, data, checkpoint)
        publish(
            {
                args.weights: weights_bytes(trained),
                args.results: table_bytes(results_table(trained)),
            }
        )
        checkpoint.remove()
