"""An interrupted training job goes on to the same bits; nothing else takes up its checkpoint."""

from pathlib import Path

import pytest
import torch
from bnblind.experiments.training import Cell, Trainer, train
from bnblind.pipeline.train import results_table, train_runs

from bnblind.errors import BadInput
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.runs import Run
from bnblind.pipeline.checkpoint import Checkpoint, alone, identity_of
from bnblind.pipeline.training_jobs import weights_bytes

CELL = Cell(
    dataset="digits",
    model="head",
    norm="bn",
    batching="label",
    lr=0.01,
    batch_size=64,
    epochs=2,
    seeds=(0, 1),
    snapshots=(1,),
    optimizer={"name": "sgd", "momentum": 0.9, "weight_decay": 0.01},
)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("epochs_done", [1, 2, 3])
def test_an_interrupted_job_ends_with_the_same_bits(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs_done: int
) -> None:
    """Interrupted in the first seed, between the seeds, and in the second."""
    checkpoint = Checkpoint(tmp_path / "c", "this job", interval=0)
    save, saved = Checkpoint.save, []

    def interrupting_save(self: Checkpoint, finished: list[Run], trainer: Trainer) -> None:
        save(self, finished, trainer)
        saved.append(trainer.epoch)
        if len(saved) == epochs_done:
            raise Interrupted

    monkeypatch.setattr(Checkpoint, "save", interrupting_save)
    with pytest.raises(Interrupted):
        train_runs([CELL], digits, checkpoint)
    resumed = train_runs([CELL], digits, checkpoint)
    assert len(saved) == CELL.epochs * len(CELL.seeds), "an epoch was trained twice"

    uninterrupted = [(CELL, train(CELL, seed, digits)) for seed in CELL.seeds]
    orders = [run.batch_order for _, run in uninterrupted]
    assert [run.batch_order for _, run in resumed] == orders
    assert weights_bytes(resumed) == weights_bytes(uninterrupted)
    assert results_table(resumed).equals(results_table(uninterrupted))


def test_without_the_optimizers_state_the_bits_would_differ(digits: Dataset) -> None:
    """So the test above sees a checkpoint that forgets it."""
    ended = train(CELL, 0, digits).weights[2]
    half, fresh = Trainer(CELL, 0, digits), Trainer(CELL, 0, digits)
    half.advance()
    state = {name: t for name, t in half.state().items() if not name.startswith("optimizer")}
    fresh.resume(state, half.run, 1)
    fresh.advance()
    assert any(not torch.equal(fresh.run.weights[2][name], ended[name]) for name in ended)


def test_a_checkpoint_of_another_job_or_a_damaged_one_is_not_taken_up(
    digits: Dataset, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(tmp_path / "c", "this job")
    trainer = Trainer(CELL, 0, digits)
    trainer.advance()
    checkpoint.save([], trainer)
    assert checkpoint.load() is not None
    assert Checkpoint(tmp_path / "c", "another job").load() is None
    content = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(content[:-100])
    assert checkpoint.load() is None


def test_the_identity_holds_numerics_settings_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a run could end with bits that are half portable and half not."""
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
    data.write_bytes(b"2")
    assert identity_of("settings", data) != before


def test_a_checkpoint_is_saved_when_it_is_due(digits: Dataset, tmp_path: Path) -> None:
    trainer = Trainer(CELL, 0, digits)
    seldom = Checkpoint(tmp_path / "seldom", "job", interval=3600)
    seldom.save_if_due([], trainer)
    assert not seldom.path.exists()
    often = Checkpoint(tmp_path / "often", "job", interval=0)
    often.save_if_due([], trainer)
    assert often.path.exists()


def test_two_processes_cannot_train_the_same_cell(tmp_path: Path) -> None:
    with (
        alone(tmp_path / "c"),
        pytest.raises(BadInput, match="another process is at work"),
        alone(tmp_path / "c"),
    ):
        pass
