"""What a terminal is shown, and what a file gets instead; words that are nearly right."""

import sys

import pytest

from bnblind.__main__ import COMMANDS, main
from bnblind.pipeline.usage import usage_of
from bnblind.review.plan import Job, expected
from bnblind.review.terminal import coloured, within
from tests.conftest import ROOT

LINE = "C1  reproduced  a claim of nine words that says what holds"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stdout goes to one of 40 columns."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_wraps_the_last_column_below_itself_and_has_colours() -> None:
    first, second = within(LINE, indent=16).splitlines()
    assert first == "C1  reproduced  a claim of nine words"
    assert second == " " * 16 + "that says what holds"
    assert coloured("a: not reproduced, b: partly") == (
        "a: \x1b[31mnot reproduced\x1b[0m, b: \x1b[33mpartly\x1b[0m"
    )


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert coloured(LINE) == LINE


def test_elsewhere_lines_stay_as_they_are() -> None:
    assert coloured(within(LINE, indent=16)) == LINE


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: bnblind ")
    assert all(f"\n    {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["vrify"], "verify"),
        (["plan", "--cofigfile", "x"], "--configfile"),
        (["notebook", "puryty"], "purity"),
        (["probe", "--model=torchvision:resnt18", "--data=digits", "--batching=x"], "resnet18"),
    ],
)
def test_of_a_wrong_word_the_nearest_is_named(
    words: list[str], meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=f"allowed: .*; did you mean {meant}\\?$"):
        main(words)


def test_the_time_that_is_expected_is_that_of_the_published_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the longest jobs the last may run alone."""
    usage = {"train": {"mean_seconds": 60.0, "peak_mb": 1}, "page": {"mean_seconds": 30.0}}
    jobs = [Job(rule, (), "") for rule in ("train",) * 8 + ("page",) * 2 + ("none",)]
    assert expected(jobs, usage, cores=2) == (
        "jobs to run: 11, which took 540 CPU-seconds in the published run; about 6 min (cores: 2)"
    )
    assert expected(jobs, usage, cores=1000).endswith("; about 2 min (cores: 1000)")
    assert "no run is published" in expected(jobs, {}, cores=2)
    monkeypatch.chdir(ROOT)
    assert usage_of("images")["train_classification"]["mean_seconds"] > 10
    assert usage_of("smoke") == {}
