"""Progress: a bar on a terminal, plain lines elsewhere."""

import io
import sys

import pytest

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.training import NetworkTrainer
from bnblind.experiments.trainer import Trainer
from bnblind.pipeline.steps.train import Progress

CELL = NetworkCell(
    dataset="digits",
    model="head",
    norm="none",
    batching="random",
    lr=0.01,
    batch_size=256,
    epochs=1,
    seeds=(3,),
    snapshots=(),
    optimizer={"name": "sgd"},
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def trainer(digits: Dataset) -> Trainer:
    trainer = NetworkTrainer(CELL, 3, digits)
    trainer.advance()
    return trainer


def test_a_line_an_epoch_where_there_is_no_terminal(
    trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    Progress(CELL.epochs)(trainer)
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("digits head none random lr 0.01 seed 3 epoch 1/1: train loss ")
    assert printed.out.count("\n") == 1


def test_a_bar_on_a_terminal(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    Progress(CELL.epochs)(trainer)
    assert "1/1" in terminal.getvalue()
    assert "seed 3" in terminal.getvalue()
    assert capsys.readouterr().out == ""
