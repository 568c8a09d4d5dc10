"""Step: the Taylor split and the blocked share at every norm layer of a grid's networks."""

import argparse
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn
from torch.nn import functional as F

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.derivatives import (
    Probing,
    describe,
    split_at,
    trained_model,
)
from bnblind.layers import normalization_layers
from bnblind.norms import BatchNorm
from bnblind.pipeline.files import publish, table_bytes
from bnblind.pipeline.kept_weights import kept_weights
from bnblind.pipeline.prepared import read_dataset
from bnblind.probe import BlindnessProbe

Row = dict[str, Any]


def networks(path: Path, data: Dataset) -> Iterator[tuple[Row, nn.Module]]:
    """Every kept network of a job's weights file, with what it is, in float64."""
    for row, cell, weights in kept_weights(path):
        yield row, trained_model(cell.model, cell.norm, data, weights).double()


def term_rows(model: nn.Module, images: Tensor, labels: Tensor) -> Iterator[Row]:
    """The split at each norm layer, in numbers."""
    for layer in normalization_layers(model):
        split = split_at(model, layer, images, labels)
        yield {"layer": layer, **describe(split, model.get_submodule(layer))}


def blocked_rows(model: nn.Module, images: Tensor, labels: Tensor) -> Iterator[Row]:
    """What each batch norm blocks of the whole gradient in training, later layers coupled."""
    if not any(isinstance(layer, BatchNorm) for layer in model.modules()):
        return
    model = copy.deepcopy(model)
    with BlindnessProbe(model) as probe:
        F.cross_entropy(model(images), labels).backward()
    for row in probe.table().to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="derivatives", description=__doc__)
    parser.add_argument("--probing", type=json.loads, required=True, help="batches to draw")
    parser.add_argument("--prepared", type=Path, required=True, help="data set to read")
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="to read")
    parser.add_argument("--terms", type=Path, required=True, help="table of the splits to write")
    parser.add_argument("--blocked", type=Path, required=True, help="table of shares to write")
    args = parser.parse_args(argv)

    data = read_dataset(args.prepared)
    probing = Probing(**args.probing)
    terms: list[Row] = []
    blocked: list[Row] = []
    for path in args.weights:
        for key, model in networks(path, data):
            for batching, number, images, labels in probing.draw(data.train, key["seed"]):
                where = {**key, "probed": batching, "batch": number}
                images = images.double()
                terms += [where | row for row in term_rows(model, images, labels)]
                blocked += [where | row for row in blocked_rows(model, images, labels)]
        print(f"{path}: {len(terms)} splits so far", flush=True)
    publish(
        {
            args.terms: table_bytes(pd.DataFrame(terms)),
            args.blocked: table_bytes(pd.DataFrame(blocked)),
        }
    )
