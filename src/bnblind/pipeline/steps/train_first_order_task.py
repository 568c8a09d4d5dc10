"""Step: train the toy task whose only signal is first-order, under every norm."""

import argparse
import json
from pathlib import Path

import pandas as pd

from bnblind.experiments.first_order_task import LinearSignal, train_first_order_task
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.tables import table_bytes


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="train_first_order_task", description=__doc__)
    parser.add_argument("--settings", type=json.loads, required=True, help="what to train")
    parser.add_argument("--table", type=Path, required=True, help="one row per step, to write")
    args = parser.parse_args(argv)
    settings = dict(args.settings)
    norms, seeds = settings.pop("norms"), settings.pop("seeds")
    task = LinearSignal(**settings)
    rows = [
        {"norm": norm, "seed": seed, **row}
        for norm in norms
        for seed in seeds
        for row in train_first_order_task(norm, task, seed)
    ]
    publish({args.table: table_bytes(pd.DataFrame(rows))})
    print(f"{args.table}: {len(rows)} steps")
