"""A small experiment as somebody would add it: files of its own, and one declaration."""

import json

COMPUTATION = '''"""How far labels lie apart."""

from collections.abc import Iterator


def spread(least: int, seeds: list[int]) -> Iterator[dict[str, float]]:
    for seed in seeds:
        yield {"seed": seed, "distance": float(least + seed)}
'''

STEP = '''"""Step: how far labels lie apart."""

import argparse
import json
from pathlib import Path

import pandas as pd

from bnblind.experiments.label_spread import spread
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.tables import table_bytes


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="measure_spread", description=__doc__)
    parser.add_argument("--settings", type=json.loads, required=True, help="what to measure")
    parser.add_argument("--table", type=Path, required=True, help="one row per seed, to write")
    args = parser.parse_args(argv)
    publish({args.table: table_bytes(pd.DataFrame(spread(**args.settings)))})
'''

FIGURES = '''"""Figure of the distances between labels."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure


def distances(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot(table["seed"], table["distance"], marker="o")
    axes.set(xlabel="seed", ylabel="distance")
    return figure, table
'''

DECLARATION = '''"""How far labels lie apart."""

from bnblind.pipeline.configuration.keys import integer, mapping, seeds
from bnblind.pipeline.declaration import Computing, Experiment, Page

EXPERIMENT = Experiment(
    name="spread",
    title="How far labels lie apart",
    order=25,
    section=mapping(
        "the distances between labels",
        {"least": integer("the smallest distance"), "seeds": seeds("of the distances")},
    ),
    tables={"table": "spread"},
    computing=Computing("measure_spread"),
    page=Page(
        figures={"distances": "distances"},
        captions={"distances": "by seed."},
        drawn=lambda config: [("distances", {})],
        inputs=lambda config, paths: {"table": paths.table("spread")},
        sentence="Distances grow with the seed.",
    ),
)
'''

PARAMETERS = """numerics = ["x86-64-v3", 1]
table = "data/results/spread.parquet"
figures = "reports/figures"
"""

SHOWING = """import pandas as pd

from bnblind import numerics as computing
from bnblind.figures.spread import distances
from bnblind.figures.style import use_style
from bnblind.pipeline.declarations.spread import EXPERIMENT
from bnblind.pipeline.formats.publishing import publish_figure

use_style()
computing.check(*numerics)
publish_figure(
    *distances(pd.read_parquet(table)), figures, EXPERIMENT.stem("distances"), "Distances."
)
"""

SECTION = "\nspread: { least: 1, seeds: [0, 1, 2] }\n"


def _code(source: str, *tags: str) -> dict[str, object]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {"tags": [*tags]},
        "outputs": [],
        "source": source,
    }


def _notebook() -> str:
    title = {"cell_type": "markdown", "metadata": {}, "source": "# How far labels lie apart"}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cells = [title, _code(PARAMETERS, "parameters"), _code(SHOWING)]
    return json.dumps(
        {
            "cells": cells,
            "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
            "nbformat": 4,
            "nbformat_minor": 4,
        }
    )


FILES = {
    "src/bnblind/experiments/label_spread.py": COMPUTATION,
    "src/bnblind/pipeline/steps/measure_spread.py": STEP,
    "src/bnblind/pipeline/declarations/spread.py": DECLARATION,
    "src/bnblind/figures/spread.py": FIGURES,
    "notebooks/spread.ipynb": _notebook(),
}
"""Path -> content of each of its files, the declaration among them."""
