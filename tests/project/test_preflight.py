"""What would stop a run after hours is said before its first job."""

from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from bnblind.experiments.cells import Cell
from bnblind.experiments.federations.cell import FederatedCell
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.pipeline import preflight
from bnblind.pipeline.artifacts import Artifact, artifacts
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.preflight import (
    absent_devices,
    obstacles,
    too_large,
    unbuildable,
    unfilled,
)
from tests.conftest import ROOT

USAGE = {"train": {"peak_mb": 3000.0}, "collect": {"peak_mb": 10.0}}
MISSING = [Artifact("a", "table", "trained", "train"), Artifact("b", "table", "analysed", "new")]
Size = namedtuple("Size", ["total", "free"])


@pytest.mark.parametrize(
    ("memory", "free", "found"),
    [
        (3.1e9, 7, []),
        (2.9e9, 7, ["memory: found 2900 MB; train took 3000 MB"]),
        (3.1e9, 6, ["disk: found 0 MB free; the files to make took 0 MB"]),
        (2.9e9, 6, ["memory: found 2900 MB", "disk: found 0 MB free"]),
    ],
)
def test_too_little_memory_or_disk_is_said(
    memory: float, free: int, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the files that are there nothing is counted, nor of what was never measured."""
    size = Size(memory, free)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: size)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: size)
    sizes = {"a": 3, "b": 4, "made": 100}
    lines = [*too_large(MISSING, USAGE, sizes, here=True)]
    assert len(lines) == len(found)
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True))
    assert [*too_large(MISSING, {}, {}, here=True)] == []
    assert [*too_large([], USAGE, {"a": 100}, here=True)] == []
    afar = [*too_large(MISSING, USAGE, sizes, here=False)]
    assert afar == [line for line in lines if line.startswith("disk")], "memory of another machine"


@pytest.mark.parametrize(("limits", "megabytes"), [(["max"], 9000), (["max", "5000000000"], 5000)])
def test_memory_is_what_control_groups_leave(
    limits: list[str], megabytes: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job/step").mkdir(parents=True)
    for folder, limit in zip(("job/step", "job"), limits, strict=False):
        (tmp_path / folder / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "own").write_text("1:name=systemd:/x\n0::/job/step\n")
    monkeypatch.setattr(preflight, "GROUPS", tmp_path)
    monkeypatch.setattr(preflight, "OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Size(9e9, 0))
    assert preflight.memory() == megabytes


@pytest.mark.parametrize("profile", ["paper", "images"])
def test_a_profile_that_was_never_run_is_held_against_the_runs_of_the_same_data(
    profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    size = Size(2e9, 1e6)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: size)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: size)
    config, declared = read_yaml(Path(f"config/{profile}.yaml")), experiments().values()
    made = [replace(a, stage="") for a in artifacts(config, declared, datasets())]
    memory, disk = obstacles(config, declared, made, datasets(), here=True)
    assert memory.startswith("memory: found 2000 MB; ")
    assert disk.startswith("disk: found 1 MB free; ")


def test_batches_larger_than_a_class_are_said() -> None:
    config = {
        "classification": {"x": {"dataset": "mnist"}},
        "data": {"mnist": {"train": 6000}},
        "derivatives": {"x": {"batch_size": 600}},
    }
    assert [*unfilled(config, datasets())] == []
    config["derivatives"]["x"]["batch_size"] = 1000
    assert [*unfilled(config, datasets())] == [
        "derivatives.x.batch_size: found 1000; allowed: at most the 600 samples of a class in the "
        "training part"
    ]


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
    lines = [*unbuildable(cells, {"data": {cell.dataset: data}}, datasets())]
    assert len(lines) == len(found)
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True))


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from bnblind.experiments import devices

    monkeypatch.setattr(devices, "gpus", lambda: {})
    assert [*absent_devices([CELL])] == []
    assert [*absent_devices([replace(CELL, device="cuda"), CELL])] == [
        "device: found cuda; allowed on this machine: cpu"
    ]
    monkeypatch.setattr(devices, "gpus", lambda: {"cuda:0": "a"})
    assert [*absent_devices([replace(CELL, device="cuda")])] == []
    assert [*absent_devices([replace(CELL, device="cuda:1")])] == [
        "device: found cuda:1; allowed on this machine: cpu, cuda:0"
    ]
