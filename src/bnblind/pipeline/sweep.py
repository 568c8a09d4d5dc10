"""Step: train the cells of one norm in a sweep over learning rates or purities, one after the
other; only results are kept.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.models import build_model
from bnblind.experiments.purity import blocked_shares
from bnblind.experiments.runs import Run
from bnblind.experiments.training import Cell
from bnblind.pipeline.checkpoint import Checkpoint, alone, identity_of
from bnblind.pipeline.files import publish, table_bytes
from bnblind.pipeline.prepared import read_dataset
from bnblind.pipeline.train import results_table, train_runs


def blocked_rows(cell: Cell, run: Run, data: Dataset, batches: int) -> Iterator[dict[str, Any]]:
    """Metrics ``LAYER.mean_share``, ``.scale_share`` and ``.passing`` before the training and
    after it, on batches of the cell's own batching.
    """
    for epoch, weights in run.weights.items():
        model = build_model(cell.model, cell.norm, data.input_shape, data.classes)
        model.load_state_dict(weights)
        shares = blocked_shares(
            model, data.train, cell.batching, cell.batch_size, batches, run.seed
        )
        for metric, value in shares.items():
            yield {"epoch": epoch, "metric": metric, "value": value}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="sweep", description=__doc__)
    parser.add_argument("--cells", type=json.loads, required=True, help="settings of the cells")
    parser.add_argument("--probed", type=int, required=True, help="batches to probe BN on")
    parser.add_argument("--prepared", type=Path, required=True, help="data set to read")
    parser.add_argument("--checkpoint", type=Path, required=True, help="to go on from")
    parser.add_argument("--results", type=Path, required=True, help="metrics to write")
    args = parser.parse_args(argv)

    cells = [Cell.from_settings(settings) for settings in args.cells]
    data = read_dataset(args.prepared)
    identity = identity_of(json.dumps([args.cells, args.probed], sort_keys=True), args.prepared)
    checkpoint = Checkpoint(args.checkpoint, identity)
    with alone(args.checkpoint):
        trained = train_runs(cells, data, checkpoint, diverging=True)
        if args.probed:
            for cell, run in trained:
                run.metrics += blocked_rows(cell, run, data, args.probed)
        publish({args.results: table_bytes(results_table(trained))})
        checkpoint.remove()
