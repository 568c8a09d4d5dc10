"""Step: how well the penultimate features of a grid's networks separate the classes."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from bnblind.experiments.datasets import Dataset, Part
from bnblind.experiments.networks.models import kept_model
from bnblind.experiments.networks.separability import embed, measures, modes_of, penultimate
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.prepared import read_dataset
from bnblind.pipeline.formats.tables import table_bytes
from bnblind.pipeline.formats.weights import kept_networks

Row = dict[str, Any]


def measure_rows(model: nn.Module, data: Dataset, batch_size: int, seed: int) -> Iterator[Row]:
    for mode in modes_of(model):
        for metric, value in measures(model, data, mode, batch_size, seed).items():
            yield {"mode": mode, "metric": metric, "value": value}


def plane_rows(model: nn.Module, part: Part, seed: int) -> Iterator[Row]:
    """t-SNE of a part's features in evaluation mode, one row per sample."""
    features = penultimate(model, part, "eval", len(part.labels), seed).double().numpy()
    for sample, (x, y) in enumerate(embed(features, seed).tolist()):
        yield {"sample": sample, "label": part.labels[sample].item(), "x": x, "y": y}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="measure_features", description=__doc__)
    parser.add_argument("--settings", type=json.loads, required=True, help="what t-SNE shows")
    parser.add_argument("--prepared", type=Path, required=True, help="data set to read")
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="to read")
    parser.add_argument("--measures", type=Path, required=True, help="table to write")
    parser.add_argument("--plane", type=Path, required=True, help="table of t-SNE to write")
    args = parser.parse_args(argv)

    data, tsne = read_dataset(args.prepared), args.settings["tsne"]
    shown = Part(data.test.images[: tsne["samples"]], data.test.labels[: tsne["samples"]])
    measured: list[Row] = []
    plane: list[Row] = []
    for path in args.weights:
        for row, cell, weights in kept_networks(path):
            if row["epoch"] not in (0, cell.epochs):
                continue
            model = kept_model(cell, data, weights)
            found = measure_rows(model, data, cell.batch_size, row["seed"])
            measured += [row | values for values in found]
            if row["epoch"] and row["norm"] in tsne["norms"] and row["seed"] == tsne["seed"]:
                plane += [row | values for values in plane_rows(model, shown, row["seed"])]
        print(f"{path}: {len(measured)} measures so far", flush=True)
    publish(
        {
            args.measures: table_bytes(pd.DataFrame(measured)),
            args.plane: table_bytes(pd.DataFrame(plane)),
        }
    )
