"""Step: how well the penultimate features of a grid's networks separate the classes."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from bnblind.experiments.datasets import Dataset, Part
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.models import kept_model
from bnblind.experiments.networks.separability import embed, measures, modes_of, penultimate
from bnblind.pipeline.checkpoint import Pieces, identity_of
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.prepared import read_dataset
from bnblind.pipeline.formats.tables import table_bytes
from bnblind.pipeline.formats.weights import kept_networks
from bnblind.pipeline.options import parse

Row = dict[str, Any]


def measured_part(data: Dataset, count: int | None) -> Dataset:
    """The data, of the training and the test part the first ``count`` samples; all if None."""
    few = count or max(len(data.train), len(data.test))
    return replace(data, train=data.train.first(few), test=data.test.first(few))


def measure_rows(model: nn.Module, data: Dataset, cell: NetworkCell, seed: int) -> list[Row]:
    return [
        {"mode": mode, "metric": metric, "value": value}
        for mode in modes_of(model)
        for metric, value in measures(model, data, mode, cell.batch_size, seed, cell.chunk).items()
    ]


def plane_rows(model: nn.Module, part: Part, cell: NetworkCell, seed: int) -> list[Row]:
    """t-SNE of a part's features in evaluation mode, one row per sample."""
    x = penultimate(model, part, "eval", cell.batch_size, seed, cell.chunk)
    features = x.double().numpy()
    return [
        {"sample": sample, "label": part.labels[sample].item(), "x": x, "y": y}
        for sample, (x, y) in enumerate(embed(features, seed).tolist())
    ]


def main(argv: list[str]) -> float:
    """Returns the CPU seconds that interrupted processes of this job spent on what it took up."""
    args = parse(
        __name__,
        argv,
        settings="settings",
        file="prepared checkpoint measures plane",
        files="weights",
    )
    data, tsne = read_dataset(args.prepared), args.settings["tsne"]
    identity = identity_of(json.dumps(args.settings), args.prepared, *args.weights)
    pieces = Pieces(args.checkpoint, identity)
    shown = data.test.first(tsne["samples"])
    few = measured_part(data, args.settings.get("measured"))
    measured: list[Row] = []
    plane: list[Row] = []
    for path in args.weights:
        for row, cell, weights in kept_networks(path):
            if row["epoch"] not in (0, cell.epochs):
                continue
            model = kept_model(cell, data, weights)
            found = partial(measure_rows, model, few, cell, row["seed"])
            measured += [row | values for values in pieces.next(found)]
            if row["epoch"] and row["norm"] in tsne["norms"] and row["seed"] == tsne["seed"]:
                placed = partial(plane_rows, model, shown, cell, row["seed"])
                plane += [row | values for values in pieces.next(placed)]
        print(f"{path}: {len(measured)} measures so far", flush=True)
    publish({args.measures: table_bytes(measured), args.plane: table_bytes(plane)})
    pieces.remove()
    return pieces.spent
