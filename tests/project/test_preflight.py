"""What would stop a run after hours is said before its first job."""

from collections import namedtuple
from dataclasses import replace
from typing import Any

import psutil
import pytest

from bnblind.experiments.cells import Cell
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.pipeline import preflight
from bnblind.pipeline.artifacts import Artifact
from bnblind.pipeline.configuration.schema import datasets
from bnblind.pipeline.preflight import absent_devices, too_large, unbuildable

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
    lines = [*too_large(MISSING, USAGE, {"a": 3, "b": 4, "made": 100})]
    assert len(lines) == len(found)
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True))
    assert [*too_large(MISSING, {}, {})] == []
    assert [*too_large([], USAGE, {"a": 100})] == []


CELL = NetworkCell(
    dataset="digits", model="vgg11", norm="bn", batching="random", lr=0.1,
    optimizer={"name": "sgd"}, batch_size=8, epochs=1, snapshots=(), seeds=(0,), width=8,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "data", "found"),
    [
        ({"dataset": "mnist"}, {}, []),
        ({}, {}, ["digits, vgg11: vgg11 halves the image 5 times; found images of 8 x 8 pixels"]),
        ({"dataset": "mnist"}, {"pool": 2}, ["mnist, vgg11: vgg11 halves the image 5 times"]),
        ({"model": "head"}, {}, ["digits, head: model head has no width"]),
        ({"model": "conv", "norm": "none", "width": None}, {}, []),
    ],
)
def test_a_network_that_cannot_be_built_is_said_once(
    change: dict[str, Any], data: dict[str, int], found: list[str]
) -> None:
    cell = replace(CELL, **change)
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
