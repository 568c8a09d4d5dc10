"""Step: train the toy task whose only signal is first-order, under every norm."""

import pandas as pd

from bnblind.experiments.first_order_task import LinearSignal, train_first_order_task
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.tables import table_bytes
from bnblind.pipeline.options import parse


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, settings="settings", file="table")
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
