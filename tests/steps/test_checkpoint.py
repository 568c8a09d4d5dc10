"""An interrupted training job goes on to the same bits; nothing else takes up its checkpoint."""

import dataclasses
import gc
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import bnblind.pipeline.checkpoint as checkpoint_module
from bnblind.errors import BadInput, Diverged
from bnblind.experiments.cells import Cell
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks import training
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.models import build_model
from bnblind.experiments.networks.training import NetworkTrainer
from bnblind.experiments.runs import Run
from bnblind.experiments.trainer import Trainer
from bnblind.pipeline.checkpoint import Checkpoint, exclusive_lock, identity_of
from bnblind.pipeline.formats.weights import weights_bytes
from bnblind.pipeline.steps.train import train_all
from tests.helpers.training import finished

CELL = NetworkCell(
    dataset="digits",
    model="head",
    norm="bn",
    batching="label",
    lr=0.01,
    batch_size=64,
    epochs=2,
    seeds=(0, 1),
    snapshots=(1,),
    chunk=100,
    optimizer={"name": "sgd", "momentum": 0.9, "weight_decay": 0.01},
)


class Interrupted(Exception):
    pass


def train_cells(
    cells: Sequence[Cell], digits: Dataset, checkpoint: Checkpoint
) -> list[tuple[Cell, Run]]:
    def start(cell: Cell, seed: int) -> Trainer:
        return NetworkTrainer(cell, seed, digits)

    return train_all(cells, start, checkpoint, lambda trainer: None)


def results(trained: list[tuple[Cell, Run]]) -> list[object]:
    return [(cell, run.seed, run.metrics, run.batch_order) for cell, run in trained]


STEPS = 20
"""Label-pure batches of 64 in an epoch."""
MEASURED = 3 + 5 + 10 + 4 + 6 + 10
"""Batches of two parts in three modes, measured at the start and after each epoch; in evaluation
mode, of 100 samples.
"""
SAVES = STEPS + MEASURED + 1
"""One after each step, one after each batch that is measured, one after the epoch."""
RUN = MEASURED + 2 * SAVES


def interrupt_after(saves: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stop the job once after so many saves; the epochs in which all of them were made."""
    save, saved = Checkpoint.save, list[int]()

    def interrupting_save(self: Checkpoint, finished: list[Run], trainer: Trainer) -> None:
        save(self, finished, trainer)
        saved.append(trainer.epoch)
        if len(saved) == saves:
            raise Interrupted

    monkeypatch.setattr(Checkpoint, "save", interrupting_save)
    return saved


@pytest.mark.parametrize(
    ("saves", "augment"),
    [
        *((saves, "none") for saves in (1, 3, 5, 14, 20, 24, MEASURED - 1, MEASURED)),
        *((MEASURED + saves, "crop_flip") for saves in (1, STEPS - 1, STEPS)),
        *((RUN - saves, "none") for saves in (MEASURED + 1, MEASURED, 15, 2, 1, 0, -1)),
        (RUN + MEASURED + STEPS, "crop_flip"),
    ],
)
def test_an_interrupted_job_ends_with_the_same_bits(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int, augment: str
) -> None:
    """Interrupted while the start is measured, within an epoch, after its last step, within and
    after each of what is measured then, between epochs, between the seeds and in the second; with a
    network that draws random numbers in every step, and a norm whose training mode reads buffers.
    """
    monkeypatch.setattr(
        training, "build_model", lambda *args, **options: with_dropout(*args, **options)
    )
    cell = dataclasses.replace(CELL, norm="bn_renorm", augment=augment)
    checkpoint = Checkpoint(tmp_path / "c", "this job", interval=0)
    saved = interrupt_after(saves, monkeypatch)
    with pytest.raises(Interrupted):
        train_cells([cell], digits, checkpoint)
    resumed = train_cells([cell], digits, checkpoint)
    assert len(saved) == RUN * len(cell.seeds), "a batch was trained or measured twice"

    uninterrupted = [(cell, finished(NetworkTrainer(cell, seed, digits))) for seed in cell.seeds]
    assert results(resumed) == results(uninterrupted)
    assert weights_bytes(resumed) == weights_bytes(uninterrupted)


def test_a_finished_runs_trainer_is_gone_before_the_next_one_starts(
    digits: Dataset, tmp_path: Path
) -> None:
    """Without the garbage collector, which does not know what a network takes on a GPU."""
    started: list[weakref.ref[Trainer]] = []

    def start(cell: Cell, seed: int) -> Trainer:
        assert not any(earlier() for earlier in started)
        trainer = NetworkTrainer(cell, seed, digits)
        started.append(weakref.ref(trainer))
        return trainer

    gc.disable()
    try:
        cells = [dataclasses.replace(CELL, epochs=1)]
        train_all(cells, start, Checkpoint(tmp_path / "c", "job", interval=0), lambda _: None)
    finally:
        gc.enable()
    assert len(started) == 2
    assert not any(trainer() for trainer in started)


def test_the_seconds_of_interrupted_processes_add_up(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module.time, "process_time", lambda: 3.0)
    trainer, path = NetworkTrainer(CELL, 0, digits), tmp_path / "c"
    for spent in (0.0, 3.0, 6.0):
        checkpoint = Checkpoint(path, "job")
        checkpoint.load()
        assert checkpoint.spent == spent
        checkpoint.save([], trainer)


def with_dropout(*args: Any, **options: Any) -> nn.Module:
    return nn.Sequential(nn.Dropout(0.3), build_model(*args, **options))


def test_a_finished_run_is_written_once(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is written while later ones train does not grow with their number."""
    written: list[str] = []
    publish = checkpoint_module.publish

    def noting(contents: dict[Path, bytes]) -> None:
        written.extend(path.name for path in contents)
        publish(contents)

    monkeypatch.setattr(checkpoint_module, "publish", noting)
    cell = dataclasses.replace(CELL, seeds=(0, 1, 2))
    train_cells([cell], digits, Checkpoint(tmp_path / "c", "job", interval=0))
    assert [name for name in written if name != "c"] == ["c.0", "c.1"]
    assert written.count("c") == RUN * 3
    checkpoint = Checkpoint(tmp_path / "c", "job")
    assert checkpoint.load() is not None
    checkpoint.remove()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("damage", ["missing", "altered", "of another job", "of another run"])
def test_a_checkpoint_without_one_of_its_finished_runs_is_not_taken_up(
    digits: Dataset, tmp_path: Path, damage: str
) -> None:
    cell = dataclasses.replace(CELL, seeds=(0, 1, 2))
    train_cells([cell], digits, Checkpoint(tmp_path / "c", "job", interval=0))
    train_cells([cell], digits, Checkpoint(tmp_path / "d", "other", interval=0))
    own = tmp_path / "c.0"
    content = bytearray(own.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        own.unlink()
    elif damage == "altered":
        own.write_bytes(content)
    else:
        other = tmp_path / ("d.0" if damage == "of another job" else "c.1")
        own.write_bytes(other.read_bytes())
    assert Checkpoint(tmp_path / "d", "other").load() is not None
    assert Checkpoint(tmp_path / "c", "job").load() is None


def test_weights_are_the_same_bytes_whatever_the_device(digits: Dataset) -> None:
    run = finished(NetworkTrainer(dataclasses.replace(CELL, epochs=1), 0, digits))
    cells = [dataclasses.replace(CELL, device=device) for device in ("cpu", "cuda", "cuda:1")]
    assert len({weights_bytes([(cell, run)]) for cell in cells}) == 1


def test_without_the_optimizers_state_the_bits_would_differ(digits: Dataset) -> None:
    """So the test above sees a checkpoint that forgets it."""
    ended = finished(NetworkTrainer(CELL, 0, digits)).weights[2]
    half, fresh = NetworkTrainer(CELL, 0, digits), NetworkTrainer(CELL, 0, digits)
    half.advance()
    state = {name: t for name, t in half.state().items() if not name.startswith("optimizer")}
    assert len(state) < len(half.state())
    fresh.resume(state, half.run, 1)
    fresh.advance()
    assert any(not torch.equal(fresh.run.weights[2][name], ended[name]) for name in ended)


FREE = dataclasses.replace(CELL, norm="none", seeds=(1,), snapshots=())
DIVERGING = [
    dataclasses.replace(FREE, lr=1e30, may_diverge=True),
    dataclasses.replace(FREE, seeds=(1, 2)),
]


def test_a_diverged_run_is_a_result_and_the_next_one_follows(
    digits: Dataset, tmp_path: Path
) -> None:
    trained = train_cells(DIVERGING, digits, Checkpoint(tmp_path / "c", "job"))
    (_, first), (own, second), _ = trained
    lost = [row for row in first.metrics if row["metric"] == "diverged"]
    assert lost == [{"epoch": 1, "metric": "diverged", "value": 1.0}]
    assert list(first.weights) == [0]
    assert (own, second.seed) == (DIVERGING[1], 1)
    assert second.metrics == finished(NetworkTrainer(own, 1, digits)).metrics


def test_a_run_that_may_not_diverge_ends_the_job(digits: Dataset, tmp_path: Path) -> None:
    diverging = dataclasses.replace(DIVERGING[0], may_diverge=False)
    with pytest.raises(Diverged):
        train_cells([diverging, DIVERGING[1]], digits, Checkpoint(tmp_path / "d", "job"))


def test_an_interrupted_sweep_goes_on_to_the_same_bits(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a diverged run, a finished one, and an epoch of the third."""
    whole = train_cells(DIVERGING, digits, Checkpoint(tmp_path / "w", "job"))
    checkpoint, save = Checkpoint(tmp_path / "c", "job", interval=0), Checkpoint.save

    def interrupting(self: Checkpoint, finished: list[Run], trainer: Trainer) -> None:
        save(self, finished, trainer)
        if len(finished) == 2:
            raise Interrupted

    monkeypatch.setattr(Checkpoint, "save", interrupting)
    with pytest.raises(Interrupted):
        train_cells(DIVERGING, digits, checkpoint)
    monkeypatch.setattr(Checkpoint, "save", save)
    resumed = train_cells(DIVERGING, digits, checkpoint)
    assert results(resumed) == results(whole)
    assert weights_bytes(resumed) == weights_bytes(whole)


def test_a_checkpoint_of_another_job_or_a_damaged_one_is_not_taken_up(
    digits: Dataset, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(tmp_path / "c", "this job")
    trainer = NetworkTrainer(CELL, 0, digits)
    trainer.advance()
    checkpoint.save([], trainer)
    assert checkpoint.load() is not None
    assert Checkpoint(tmp_path / "c", "another job").load() is None
    content = checkpoint.path.read_bytes()
    for place in [0, 8, 100, *range(200, len(content), 997), len(content) - 1]:
        altered = bytearray(content)
        altered[place] ^= 1
        checkpoint.path.write_bytes(altered)
        assert checkpoint.load() is None, place
    checkpoint.path.write_bytes(content[:-100])
    assert checkpoint.load() is None
    checkpoint.path.write_bytes(content)
    assert checkpoint.load() is not None


def test_the_identity_holds_numerics_code_settings_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a run could end with bits that are half of one level and half of another."""
    data = tmp_path / "data"
    data.write_bytes(b"1")
    before = identity_of("settings", data)
    assert identity_of("settings", data) == before
    assert identity_of("other settings", data) != before
    with monkeypatch.context() as changed:
        changed.setenv("ATEN_CPU_CAPABILITY", "something else")
        assert identity_of("settings", data) != before
    with monkeypatch.context() as changed:
        changed.setattr(torch, "__version__", "0.0")
        assert identity_of("settings", data) != before
    with monkeypatch.context() as changed:
        module = ModuleType("bnblind.more")
        module.__file__ = str(tmp_path / "more.py")
        (tmp_path / "more.py").write_text("x = 1")
        changed.setitem(sys.modules, "bnblind.more", module)
        more = identity_of("settings", data)
        (tmp_path / "more.py").write_text("x = 2")
        assert len({before, more, identity_of("settings", data)}) == 3
    assert identity_of("settings", data) == identity_of("settings", data, device="cpu") == before
    found = {before}
    for name, cuda in (("A100", "12"), ("H100", "12"), ("H100", "13")):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda place, name=name: name)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        found.add(identity_of("settings", data, device="cuda:1"))
    assert len(found) == 4
    data.write_bytes(b"2")
    assert identity_of("settings", data) != before


def test_a_checkpoint_is_saved_when_it_is_due(digits: Dataset, tmp_path: Path) -> None:
    trainer = NetworkTrainer(CELL, 0, digits)
    seldom = Checkpoint(tmp_path / "seldom", "job", interval=3600)
    seldom.save_if_due([], trainer)
    assert not seldom.path.exists()
    often = Checkpoint(tmp_path / "often", "job", interval=0)
    often.save_if_due([], trainer)
    assert often.path.exists()


def test_two_processes_cannot_train_the_same_cell(tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path / "c"),
        pytest.raises(BadInput, match="another process is using"),
        exclusive_lock(tmp_path / "c"),
    ):
        pass
