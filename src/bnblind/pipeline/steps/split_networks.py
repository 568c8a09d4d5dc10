"""Step: the Taylor split and the blocked share at every norm layer of a grid's networks."""

import copy
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.losses import training_loss
from bnblind.experiments.networks.splitting import Probing, describe, split_at, trained_model
from bnblind.experiments.runs import Weights
from bnblind.norms import norm_class
from bnblind.norms.bn import BatchNorm
from bnblind.pipeline.checkpoint import Pieces, identity_of
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.prepared import read_dataset
from bnblind.pipeline.formats.tables import table_bytes
from bnblind.pipeline.formats.weights import kept_networks
from bnblind.pipeline.options import parse
from bnblind.probe import BlindnessProbe

Row = dict[str, Any]


def blocked_rows(model: nn.Module, images: Tensor, labels: Tensor, loss: str) -> Iterator[Row]:
    """What each batch norm blocks of the whole gradient in training, later layers coupled."""
    if not any(isinstance(layer, BatchNorm) for layer in model.modules()):
        return
    model = copy.deepcopy(model)
    with BlindnessProbe(model) as probe:
        training_loss(loss)(model(images), labels, "mean").backward()
    for row in probe.table().drop(columns=["found", "not_finite"]).to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def split_rows(
    key: Row, cell: NetworkCell, weights: Weights, data: Dataset, probing: Probing
) -> dict[str, list[Row]]:
    """The ``terms`` and what is ``blocked`` in one network, at one epoch of its training."""
    model = trained_model(cell, data, weights).double()
    terms: list[Row] = []
    blocked: list[Row] = []
    for batching, number, images, labels in probing.draw(data.train, key["seed"]):
        where, images = {**key, "probed": batching, "batch": number}, images.double()
        for layer in probing.places(model):
            split = split_at(model, layer, images, labels, cell.loss)
            terms.append(where | {"layer": layer, **describe(split, model.get_submodule(layer))})
        blocked += [where | row for row in blocked_rows(model, images, labels, cell.loss)]
    return {"terms": terms, "blocked": blocked}


def main(argv: list[str]) -> float:
    """Returns the CPU seconds that interrupted processes of this job spent on what it took up."""
    args = parse(
        __name__,
        argv,
        settings="settings",
        file="prepared checkpoint terms blocked",
        files="weights",
    )
    data = read_dataset(args.prepared)
    identity = identity_of(json.dumps(args.settings), args.prepared, *args.weights)
    pieces = Pieces(args.checkpoint, identity)
    norms = args.settings.pop("norms", None)
    probing = Probing(**args.settings)
    terms: list[Row] = []
    blocked: list[Row] = []
    for path in args.weights:
        for key, cell, weights in kept_networks(path):
            if norms is not None and cell.norm not in norms:
                continue
            norm_class(cell.norm)  # loads its code now
            found = pieces.next(partial(split_rows, key, cell, weights, data, probing))
            terms += found["terms"]
            blocked += found["blocked"]
        print(f"{path}: {len(terms)} splits so far", flush=True)
    publish({args.terms: table_bytes(terms), args.blocked: table_bytes(blocked)})
    pieces.remove()
    return pieces.spent
