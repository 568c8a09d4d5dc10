"""How large training is, is known from shapes alone."""

import json
from collections import Counter
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import pytest
from torch import Tensor, nn

from bnblind.experiments.cells import Cell
from bnblind.experiments.federations.cell import FederatedCell
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.footprint import Footprint, footprints, of_network
from tests.conftest import ROOT

CELL = NetworkCell(
    dataset="digits", model="vgg11", norm="bn", batching="random", lr=0.1,
    optimizer={"name": "sgd"}, batch_size=8, epochs=1, snapshots=(), seeds=(0,), width=8,
)  # fmt: skip
OF_MNIST: dict[str, Any] = {
    **{"dataset": "mnist", "norm": "bn", "batching": "random", "lr": 0.1, "optimizer": {}},
    **{"batch_size": 8, "epochs": 1, "seeds": (0,)},
}
FLOW = FlowCell(
    pair=(9, 8), coupling="conv", coupling_norm="none", couplings=3, width=4, depth=2,
    constraint=0.9, scale_regularization=0, patience=0, mixtures=1, samples=1, **OF_MNIST,
)  # fmt: skip
CLIENTS = FederatedCell(model="vgg11", classes_per_client=2, clients=10, **OF_MNIST)


@pytest.mark.parametrize(
    ("change", "data", "found"),
    [
        ({"dataset": "mnist"}, {}, []),
        ({}, {}, ["digits, vgg11: vgg11 halves the image 5 times; found images of 8 x 8 pixels"]),
        ({"dataset": "mnist"}, {"pool": 2}, ["mnist, vgg11: vgg11 halves the image 5 times"]),
        ({"model": "head"}, {}, ["digits, head: model head has no width"]),
        ({"model": "conv", "norm": "none", "width": None}, {}, []),
        (FLOW, {"pool": 2}, []),
        (FLOW, {"pool": 4}, ["mnist, conv: convolutional couplings need images of even sides"]),
        (CLIENTS, {}, []),
        (CLIENTS, {"pool": 2}, ["mnist, vgg11: vgg11 halves the image 5 times"]),
    ],
)
def test_a_network_that_cannot_be_built_is_said_once(
    change: dict[str, Any] | Cell, data: dict[str, int], found: list[str]
) -> None:
    cell = change if isinstance(change, Cell) else replace(CELL, **change)
    cells: list[Cell] = [cell, replace(cell, lr=0.2), replace(cell, norm="ln")]
    sized, lines = footprints({"job": cells}, {"data": {cell.dataset: data}}, datasets())
    assert len(sized) == (0 if found else 3)
    assert len(lines) == len(found)
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True))


def test_a_step_holds_parameters_and_what_the_backward_pass_needs() -> None:
    """Counted by hand: the input, and what the ReLU yields, which the next layer needs, too."""
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    parameters = 4 * (10 * 20 + 20 + 20 * 5 + 5)
    assert of_network(model, (8, 10)) == Footprint(parameters, parameters + 4 * 8 * (10 + 20))


class Reading(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_of_a_forward_pass_that_reads_numbers_what_comes_before_counts() -> None:
    model = nn.Sequential(nn.Linear(10, 20), Reading(), nn.Linear(20, 5))
    assert of_network(model, (8, 10)).step == 4 * (10 * 20 + 20 + 20 * 5 + 5 + 8 * 10)


def test_the_published_weights_have_the_size_that_was_to_be_expected() -> None:
    """But for the names of tensors, which are half a megabyte of a small DenseNet-121."""
    config, expected = read_yaml(ROOT / "config/images.yaml"), Counter[str]()
    published = json.loads((ROOT / "published/images.json").read_bytes())
    for name in ("classification", "flows"):
        training = experiments()[name].training
        assert training is not None
        for grid, jobs in training.jobs(config).items():
            files = {
                f"data/models/{name}/{grid}/{job}.safetensors": own for job, own in jobs.items()
            }
            for file, cell, own in footprints(files, config, datasets())[0]:
                expected[file] += own.weights * len(cell.seeds) * len(cell.kept_epochs([]))
    assert {*expected} == {name for name in published if fnmatch(name, "data/models/*.safetensors")}
    for file, size in expected.items():
        assert size <= published[file]["bytes"] <= 1.02 * size + 500_000, file
