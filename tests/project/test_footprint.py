"""How large training is, is known from shapes alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnblind.experiments.cells import Cell
from bnblind.experiments.federations.cell import FederatedCell
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.flows.realnvp import build_flow
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.models import build_model
from bnblind.pipeline import footprint
from bnblind.pipeline.artifacts import TrainingJob, to_train
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.footprint import Expected, expected, measuring_bytes, step_bytes
from bnblind.pipeline.usage import usage_for
from bnblind.review.plan import Job, with_networks
from bnblind.review.workflow import read_profile
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


def of(cells: list[Cell], data: dict[str, int]) -> Expected:
    config = {"data": {cells[0].dataset: data}}
    return expected([TrainingJob("train", "file", cells)], config, datasets())


@pytest.mark.parametrize(
    ("change", "data", "found"),
    [
        ({"dataset": "mnist"}, {}, []),
        ({}, {}, ["digits, vgg11: vgg11 halves the image 5 times; found images of 8 x 8 pixels"]),
        ({"dataset": "mnist"}, {"pool": 2}, ["mnist, vgg11: vgg11 halves the image 5 times"]),
        ({"model": "head"}, {}, ["digits, head: model head has no width"]),
        ({"model": "conv", "norm": "none", "width": None}, {}, []),
        ({"model": "conv", "width": None}, {"pool": 4}, ["digits, conv: RuntimeError: "]),
        (FLOW, {"pool": 2}, []),
        (
            FLOW,
            {"pool": 4},
            ["mnist, flow conv: convolutional couplings need images of even"],
        ),
        (CLIENTS, {}, []),
        (CLIENTS, {"pool": 2}, ["mnist, vgg11: vgg11 halves the image 5 times"]),
    ],
)
def test_a_network_that_cannot_be_built_is_said_once(
    change: dict[str, Any] | Cell, data: dict[str, int], found: list[str]
) -> None:
    cell = change if isinstance(change, Cell) else replace(CELL, **change)
    cells: list[Cell] = [cell, replace(cell, lr=0.2), replace(cell, norm="ln")]
    lines = of(cells, data).refused
    assert len(lines) == len(found)
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True))


@pytest.fixture
def small() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5)).to("meta")


def test_a_step_holds_parameters_and_what_the_backward_pass_needs(small: nn.Module) -> None:
    """Counted by hand: the input, and what the ReLU yields, which the next layer needs, too."""
    parameters = 10 * 20 + 20 + 20 * 5 + 5
    x = torch.empty(8, 10, device="meta")
    assert step_bytes(small, x) == 4 * (parameters + 8 * (10 + 20))


def test_measuring_holds_what_goes_into_a_layer_and_comes_out(small: nn.Module) -> None:
    x = torch.empty(8, 10, device="meta")
    assert measuring_bytes(small, x) == 4 * 8 * (20 + 20)
    small[1].inplace = True  # then the last layer is the largest, and the whole
    assert measuring_bytes(small, x) == 4 * 8 * (20 + 10)


FLOW_SIZES = {"couplings": 2, "width": 4, "depth": 1, "constraint": 0.9}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "vgg11": lambda: build_model("vgg11", "bn", (1, 32, 32), 10, width=8),
    "resnet18": lambda: build_model("resnet18", "ln", (1, 32, 32), 10, width=8),
    "densenet121": lambda: build_model("densenet121", "gn", (1, 32, 32), 10, width=4),
    "flow": lambda: build_flow("conv", (1, 32, 32), norm="bn", coupling_norm="bn", **FLOW_SIZES),
}


def on_the_processor(model: nn.Module, x: Tensor) -> int:
    """Bytes that a step saves there, by address."""
    held: list[Tensor] = [*model.parameters()]

    def save(tensor: Tensor) -> Tensor:
        held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        model(x)
    storages = [tensor.untyped_storage() for tensor in held]
    return sum({own.data_ptr(): own.nbytes() for own in storages}.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_on_the_processor_holds_as_much(name: str) -> None:
    x = torch.rand(16, 1, 32, 32)
    found = step_bytes(NETWORKS[name]().to("meta"), x.to("meta"))
    assert found == pytest.approx(on_the_processor(NETWORKS[name](), x), rel=0.001)


@pytest.mark.parametrize("attend", [nn.MultiheadAttention, nn.TransformerEncoderLayer])
def test_of_attention_parameters_alone_count(attend: Any) -> None:
    """The processor saves less than the meta device: no matrix of all pairs."""
    model = attend(32, 2, batch_first=True)
    x = torch.empty(4, 16, 32, device="meta")
    calls = (x, x, x) if attend is nn.MultiheadAttention else (x,)
    whole = nn.Module()
    whole.own = model.to("meta")
    whole.forward = lambda _: model(*calls)  # type: ignore[method-assign]
    assert step_bytes(whole, x) == 4 * sum(p.numel() for p in model.parameters())


class Reading(nn.Module):
    """A network of one's own that looks at numbers."""

    def __init__(self, *, early: bool = False) -> None:
        super().__init__()
        self.early, self.layer = early, nn.Linear(64, 10)
        if early:
            self.rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.layer(x.flatten(1))
        return z if self.early or z.detach().numpy().sum() > 0 else -z


@pytest.mark.parametrize("early", [False, True])
def test_a_network_that_reads_numbers_is_built_and_its_weights_counted(
    early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footprint, "build_model", lambda *_, **__: Reading(early=early))
    found = of([replace(CELL, model="own", width=None)], {})
    size = 4 * (64 * 10 + 10)
    assert (found.refused, dict(found.sizes)) == (set(), {"file": 2 * size})
    assert found.needs["train"][0] == size / 1e6


def needs(**changes: Any) -> float:
    """Megabytes of a cell on Fashion-MNIST, of which ``train`` images are trained on."""
    data = {"train": changes.pop("train")} if "train" in changes else {}
    cell = replace(CELL, **{"dataset": "fashion_mnist", "batch_size": 5000, **changes})
    return of([cell], data).needs.get("train", (0.0, ""))[0]


def test_what_a_machine_may_do_without_is_not_asked_for() -> None:
    """Batches are no larger than a class or than what a client has; half precision saves, and so
    may a compiler; a GPU has memory of its own.
    """
    large, measuring = needs(train=20_000), needs(train=10)
    assert measuring < 0.5 * large
    assert needs(train=20_000, batch_size=60_000) == large == needs(train=20_000, batch_size=2000)
    assert needs(batch_size=60_000) == needs(batch_size=128), "nobody knows how large a class is"
    assert needs(train=20_000, precision="bfloat16") == measuring
    assert needs(train=20_000, execution="compiled") == measuring
    assert needs(train=20_000, precision="tf32", execution="channels_first") == large
    assert needs(chunk=4096) == pytest.approx(2 * measuring)
    assert needs(device="cuda") == 0
    clients = of([replace(CLIENTS, batch_size=60_000)], {}).needs["train"][0]
    assert clients == of([replace(CLIENTS, batch_size=2)], {}).needs["train"][0]


def test_the_published_weights_have_the_size_that_was_to_be_expected() -> None:
    """But for the names of tensors, which are half a megabyte of a small DenseNet-121."""
    config = read_yaml(ROOT / "config/images.yaml") | {"root": "."}
    published = json.loads((ROOT / "published/images.json").read_bytes())
    running = [experiment for experiment in experiments().values() if experiment.runs_in(config)]
    sizes = expected(to_train(config, running, published.keys()), config, datasets()).sizes
    assert {*sizes} == {name for name in published if fnmatch(name, "data/models/*.safetensors")}
    for file, size in sizes.items():
        assert size <= published[file]["bytes"] <= 1.02 * size + 500_000, file


def test_the_plan_counts_the_networks_that_are_still_to_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    config, declared, known = read_profile(Path("config/paper.yaml"))
    trained = [own.path for own in known if own.rule == "train_classification"]
    jobs = [Job("train_classification", (path,), "") for path in trained]
    before = usage_for(config)
    usage, weights, refused = with_networks(before, config, declared.values(), jobs)
    assert sum(weights.values()) == pytest.approx(21e9, rel=0.05)  # by hand in docs/scale.md
    assert before["train_classification"]["peak_mb"] < 3000
    assert usage["train_classification"]["peak_mb"] > 5000
    seconds = before["train_classification"]["mean_seconds"]
    assert usage["train_classification"]["mean_seconds"] == seconds
    assert usage["features"] == before["features"]
    assert not refused
    few = [job for job in jobs if "vgg11" in job.outputs[0]]
    usage, weights, _ = with_networks(before, config, declared.values(), few)
    assert sum(weights.values()) == pytest.approx(11e9, rel=0.05)
    assert usage["train_classification"] == before["train_classification"]
    config["data"]["cifar10"]["pool"] = 4
    _, _, refused = with_networks(before, config, declared.values(), few)
    assert [line.partition(";")[0] for line in refused] == [
        "cifar10, vgg11: vgg11 halves the image 5 times"
    ]
