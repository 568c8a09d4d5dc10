"""What would stop a run after hours is said before its first job."""

import json
import re
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bnblind.experiments.networks.cell import NetworkCell
from bnblind.pipeline import preflight
from bnblind.pipeline.artifacts import artifacts
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.preflight import (
    absent_devices,
    obstacles,
    too_large,
    unfilled,
)
from tests.conftest import ROOT

NEEDS = [(10.0, "collect took 10 MB"), (3000.0, "train took 3000 MB")]
Size = namedtuple("Size", ["total", "free"])


@pytest.mark.parametrize(
    ("memory", "free", "found"),
    [
        (3.1e9, 7, []),
        (2.9e9, 7, ["memory: found 2900 MB; train took 3000 MB"]),
        (3.1e9, 6, ["disk: found 0 MB free; the files to make take about 0 MB"]),
        (2.9e9, 6, ["memory: found 2900 MB", "disk: found 0 MB free"]),
    ],
)
def test_too_little_memory_or_disk_is_said(
    memory: float, free: int, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = Size(memory, free)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: size)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: size)
    sizes = {"a": 3, "b": 4}
    lines = [*too_large(NEEDS, sizes, here=True)]
    assert len(lines) == len(found)
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True))
    assert [*too_large([], {}, here=True)] == []
    afar = [*too_large(NEEDS, sizes, here=False)]
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


@pytest.mark.parametrize(
    ("profile", "largest", "megabytes"),
    [
        ("images", "train_classification took 2536 MB in the published run of images", 752),
        ("paper", "a training step of cifar10 densenet121 ln random lr 0.01 crop_flip", 23_000),
    ],
)
def test_a_profile_is_held_against_published_runs_and_its_own_networks(
    profile: str, largest: str, megabytes: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``paper`` was never run; its amounts were computed by hand for docs/scale.md."""
    monkeypatch.chdir(ROOT)
    size = Size(2e9, 1e6)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: size)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: size)
    config, declared = read_yaml(Path(f"config/{profile}.yaml")), experiments().values()
    config["root"] = str(tmp_path)  # where nothing is yet
    running = [experiment for experiment in declared if experiment.runs_in(config)]
    made = artifacts(config, declared, datasets())
    memory, disk = obstacles(config, running, made, datasets(), here=True)
    assert memory.startswith(f"memory: found 2000 MB; {largest}")
    start, _, needed = disk.partition(" about ")
    assert start == "disk: found 1 MB free; the files to make take"
    assert float(needed.partition(" ")[0]) == pytest.approx(megabytes, rel=0.05)


def test_what_is_there_counts_no_more_and_what_trains_again_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also a job whose weights alone are gone, and where it wants to train."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: Size(0, 0))
    config, declared = read_yaml(Path("config/images.yaml")), experiments().values()
    config["root"] = str(tmp_path)
    for grid in config["classification"].values():
        grid["device"] = "cuda:7"
    running = [experiment for experiment in declared if experiment.runs_in(config)]
    made = artifacts(config, declared, datasets())
    for artifact in made:
        Path(artifact.path).parent.mkdir(parents=True, exist_ok=True)
        Path(artifact.path).touch()
    assert not [*obstacles(config, running, made, datasets(), here=True)]
    gone = next(own for own in made if own.kind == "weights" and own.part)
    Path(gone.path).unlink()
    (line,) = obstacles(config, running, made, datasets(), here=False)
    published = json.loads(Path("published/images.json").read_bytes())
    size = published[gone.path.removeprefix(f"{tmp_path}/")]["bytes"] / 1e6
    start, _, needed = line.partition(" about ")
    assert start == "disk: found 0 MB free; the files to make take"
    assert float(needed.partition(" ")[0]) == pytest.approx(size, abs=1)
    device, *_ = obstacles(config, running, made, datasets(), here=True)
    assert device.startswith("device: found cuda:7; allowed on this machine: cpu")


def test_another_profiles_run_stops_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small networks on a small machine, on data of which the published run trains large ones."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Size(1.5e9, 0))
    config, declared = read_yaml(Path("config/images.yaml")), experiments().values()
    config |= {"profile": "mine", "root": str(tmp_path)}
    for grid in ("fashion-resnet18", "fashion-densenet121"):
        del config["classification"][grid]
    del config["derivatives"]["fashion-resnet18"]
    running = [experiment for experiment in declared if experiment.runs_in(config)]

    def found() -> list[str]:
        made = artifacts(config, declared, datasets())
        return [*obstacles(config, running, made, datasets(), here=True)]

    assert not found()
    config["classification"]["fashion-vgg11"]["width"] = 512
    config["classification"]["fashion-vgg11"]["jobs"] = "norm"
    (line,) = (line for line in found() if line.startswith("memory"))
    assert re.search(r"found 1500 MB; .* holds at least \d+ MB; allowed: .* or a smaller", line)


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
