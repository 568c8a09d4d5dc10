"""A device is claimed by one job at a time, and what is trained on it does not stay there."""

import copy
import fcntl
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from bnblind import BadInput
from bnblind.experiments import devices
from bnblind.experiments.datasets import Dataset, split_anew
from bnblind.experiments.devices import claimed
from bnblind.experiments.networks.training import NetworkTrainer
from tests.helpers.training import CELLS

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ),
]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Any:
    with claimed(request.param) as place:
        yield place


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Of a machine that has none: what ``claimed`` asks torch for; those made current."""
    current: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda place: current.append(str(place)))
    monkeypatch.setattr(devices, "gpus", lambda: {"cuda:0": "GPU-a", "cuda:1": "GPU-b"})
    monkeypatch.setattr(devices, "LOCKS", tmp_path)
    monkeypatch.setattr(devices, "PAUSE", 0.01)
    return current


@pytest.mark.parametrize("kind", CELLS)
def test_training_stops_and_goes_on_to_the_same_bits(
    kind: str, device: torch.device, digits: Dataset
) -> None:
    trainer, cell = CELLS[kind]
    whole, first, second = (trainer(cell, 0, digits.to(device)) for _ in range(3))
    whole.advance()
    whole.advance()
    first.advance()
    taken = [copy.deepcopy((first.state(), first.run, first.epoch))]
    first.after_step = lambda _: taken.append(
        copy.deepcopy((first.state(), first.run, first.epoch))
    )
    first.advance()
    state, run, epoch = taken[min(2, len(taken) - 1)]  # within the second epoch, where it may stop
    second.resume(state, run, epoch)
    second.after_step = type(second).state
    second.advance()
    assert {tensor.device.type for tensor in state.values()} == {"cpu"}
    assert next(second.model.parameters()).device.type == device.type
    for name, tensor in second.copied_weights().items():
        assert tensor.device.type == "cpu"
        assert torch.equal(tensor, whole.copied_weights()[name]), name
    assert second.run.metrics == whole.run.metrics


def test_random_numbers_are_the_same_on_every_device(device: torch.device, digits: Dataset) -> None:
    _, cell = CELLS["networks"]
    here, there = (NetworkTrainer(cell, 0, digits.to(torch.device(d))) for d in ("cpu", device))
    for name, tensor in here.copied_weights().items():
        assert torch.allclose(tensor, there.copied_weights()[name], atol=1e-6), name
    for one, other in zip(here.epoch_batches(), there.epoch_batches(), strict=True):
        assert torch.equal(one, other)
    parts = [
        split_anew(data, torch.Generator().manual_seed(1)) for data in (digits, digits.to(device))
    ]
    assert torch.equal(parts[0].train.pixels, parts[1].train.pixels.cpu())
    assert torch.equal(parts[0].train.images, parts[1].train.images.cpu())


def test_the_data_of_a_device_lie_on_it(digits: Dataset) -> None:
    there = digits.to(torch.device("meta"))
    assert there.device.type == "meta"
    assert there.test.labels.device.type == there.scale.mean.device.type == "meta"
    assert there.test.images.shape == digits.test.images.shape
    assert digits.to(torch.device("cpu")) is digits


def test_a_job_takes_the_first_free_gpu_and_waits_where_none_is(two_gpus: list[str]) -> None:
    taken: list[str] = []

    def third() -> None:
        with claimed("cuda") as place:
            taken.append(str(place))

    with claimed("cuda") as first:
        with claimed("cuda") as second:
            waiting = threading.Thread(target=third)
            waiting.start()
            waiting.join(0.2)
            assert waiting.is_alive()
            assert not taken
        waiting.join(10)
    assert [str(first), str(second), *taken] == two_gpus == ["cuda:0", "cuda:1", "cuda:1"]
    with claimed("cuda:1") as named, (devices.LOCKS / "bnblind-GPU-b.lock").open() as other:
        assert str(named) == "cuda:1"
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_gpu_is_given_back_with_the_memory_kept_in_reserve(
    two_gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def emptied() -> None:
        path = devices.LOCKS / "bnblind-GPU-a.lock"
        with path.open() as other, pytest.raises(BlockingIOError):  # nobody else has it yet
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        calls.append("emptied")

    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", emptied)
    with claimed("cuda:0"):
        assert not calls
    assert calls == ["emptied"]


def test_another_user_can_open_the_lock_of_a_gpu(two_gpus: list[str]) -> None:
    before = os.umask(0o077)
    try:
        with claimed("cuda:0"):
            assert (devices.LOCKS / "bnblind-GPU-a.lock").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_a_gpu_that_is_not_there_is_refused(two_gpus: list[str]) -> None:
    allowed = "cpu, cuda:0, cuda:1"
    with pytest.raises(BadInput, match=f"found cuda:2; allowed on this machine: {allowed}$"):
        claimed("cuda:2").__enter__()


def test_a_machine_without_a_gpu_refuses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(BadInput, match=r"found cuda; allowed on this machine: cpu$"):
        claimed("cuda").__enter__()
