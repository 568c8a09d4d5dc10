"""Time that is said before it is spent, and what an interruption leaves behind."""

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import BadInput, pacing, split_head, split_loss
from bnblind.pacing import paced
from tests.helpers.cases import C, normal
from tests.helpers.models import VECTORS, data, vectors
from tests.helpers.snapshot import snapshot


class Clock:
    """Each piece of work takes so many seconds."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(pacing.time, "monotonic", lambda: self.now)

    def work(self, pieces, seconds, most=None):
        for done, _ in enumerate(paced(range(pieces), "it", most), 1):
            self.now += seconds
            last = done
        return last


def test_what_takes_too_long_is_refused_after_a_second(monkeypatch):
    clock = Clock(monkeypatch)
    with pytest.raises(BadInput, match=r"it would take about 300 s; hdiag='auto' stops at 120 s"):
        clock.work(1000, 0.3, most=120)
    assert clock.now == pytest.approx(1.2)


@pytest.mark.parametrize(("pieces", "most"), [(1000, 301), (1000, None), (3, 0.5)])
def test_what_does_not_or_may_or_is_nearly_done_runs_to_its_end(pieces, most, monkeypatch):
    assert Clock(monkeypatch).work(pieces, 0.3, most) == pieces


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_what_is_left_after_a_few_seconds(terminal, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    Clock(monkeypatch).work(10, 0.3)
    assert capsys.readouterr().err == ""
    Clock(monkeypatch).work(100, 1.0)
    lines = capsys.readouterr().err.split("\r")
    assert ("it: 40%, about 60 s left\x1b[K" in lines) == terminal
    assert lines[-1] == ("\x1b[K" if terminal else "")


@pytest.mark.parametrize("bends", [F.gelu, lambda v: torch.atan2(v, v.flip(1) + 2)])
def test_auto_decides_by_the_time_and_exact_does_not(bends, monkeypatch):
    """Of units that bend, and of Hessian-vector products."""
    head, y, target = lambda v: bends(v) @ normal(300, C), normal(6, 300), torch.arange(6) % C
    monkeypatch.setattr("bnblind.split.MOST_SECONDS", 0.0)
    monkeypatch.setattr(pacing, "SECONDS_TO_MEASURE", 0.0)
    with pytest.raises(BadInput, match=r"diagonal of the Hessian would take .* hdiag=64"):
        split_head(head, y, target)
    assert split_head(head, y, target, hdiag="exact").hdiag_se is None
    assert split_head(head, y, target, hdiag=2).hdiag_se is not None


class Interrupts(nn.Module):
    """A user presses a key during the call of that number."""

    def __init__(self, at):
        super().__init__()
        self.at, self.calls = at, [0]

    def forward(self, v):
        self.calls[0] += 1
        if self.calls[0] == self.at:
            raise KeyboardInterrupt
        return F.gelu(v)


@pytest.mark.parametrize("at", range(1, 7))
def test_an_interruption_leaves_everything_as_it_was(at):
    head = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), Interrupts(at), nn.Linear(6, C))
    head = head.double().eval()
    (x, target), model = data(VECTORS), vectors(nn.BatchNorm1d(6))
    model.after = nn.Sequential(Interrupts(at), model.after)
    before = snapshot(head, x), snapshot(model, x)
    for call in (
        lambda: split_head(head, normal(6, 6), target),
        lambda: split_loss(model, "norm", x, target),
    ):
        for counted in (head[2], model.after[0]):
            counted.calls[0] = 0
        with pytest.raises(KeyboardInterrupt):
            call()
    assert (snapshot(head, x), snapshot(model, x)) == before
