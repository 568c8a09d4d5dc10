"""Step: train the flows of one norm and coupling norm in a grid, and judge images with them."""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from bnblind.experiments.flows.evaluation import evaluate_run
from bnblind.experiments.flows.training import FlowCell, FlowTrainer
from bnblind.pipeline.checkpoint import Checkpoint, alone, identity_of
from bnblind.pipeline.files import publish, table_bytes
from bnblind.pipeline.prepared import read_dataset
from bnblind.pipeline.seeds import train_all, weights_bytes
from bnblind.pipeline.tensors import tensors_bytes

KEY = ("dataset", "pair", "coupling", "norm", "coupling_norm", "batching")


def cell_key(cell: FlowCell) -> dict[str, str]:
    return {name: getattr(cell, name) for name in KEY} | {"pair": cell.pair_name}


def results_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Long form: one row a (cell, seed, epoch, metric, share); share is null but for mixtures."""
    columns = [*KEY, "seed", "epoch", "metric", "share", "value"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"seed": "int64", "epoch": "int64", "share": "float64", "value": "float64"})


def report(trainer: FlowTrainer) -> None:
    latest = {row["metric"]: row["value"] for row in trainer.run.metrics[-6:]}
    train, validation = (latest[f"{part}.bits_per_dimension"] for part in ("train", "validation"))
    print(
        f"{trainer.name} epoch {trainer.epoch}: train {train:.3f}, validation {validation:.3f} "
        "bits a dimension",
        flush=True,
    )


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="train_flow", description=__doc__)
    parser.add_argument("--cells", type=json.loads, required=True, help="settings of the cells")
    parser.add_argument("--prepared", type=Path, required=True, help="data set to read")
    parser.add_argument("--checkpoint", type=Path, required=True, help="to go on from")
    parser.add_argument("--weights", type=Path, required=True, help="weights to write")
    parser.add_argument("--results", type=Path, required=True, help="metrics to write")
    parser.add_argument("--samples", type=Path, required=True, help="drawn images to write")
    args = parser.parse_args(argv)

    cells = [FlowCell.from_settings(settings) for settings in args.cells]
    data = read_dataset(args.prepared)
    identity = identity_of(json.dumps(args.cells, sort_keys=True), args.prepared)
    checkpoint = Checkpoint(args.checkpoint, identity)
    rows: list[dict[str, Any]] = []
    samples: dict[str, Tensor] = {}
    with alone(args.checkpoint):
        trained = train_all(cells, partial(FlowTrainer, data=data), checkpoint, report)
        for cell, run in trained:
            judged, drawn = evaluate_run(cell, run, data)
            key = cell_key(cell) | {"seed": run.seed}
            rows += [key | row for row in [*run.metrics, *judged]]
            prefix = f"{cell.key}/seed{run.seed}"
            samples |= {f"{prefix}/{kind}": images for kind, images in drawn.items()}
        publish(
            {
                args.weights: weights_bytes(trained),
                args.results: table_bytes(results_table(rows)),
                args.samples: tensors_bytes(
                    samples, {"cells": {cell.key: cell_key(cell) for cell in cells}}
                ),
            }
        )
        checkpoint.remove()
