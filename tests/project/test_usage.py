"""What the rules' jobs used, read from the last lines of their logs by scripts/usage.py."""

import gc
import json
import re
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from bnblind import BadInput, numerics
from bnblind.pipeline import __main__ as start
from bnblind.pipeline import usage as published_usage
from bnblind.pipeline.artifacts import artifacts
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.steps import about
from bnblind.pipeline.usage import sizes_for, usage_for, usage_of
from tests.conftest import ROOT
from tests.helpers.scripts import import_script


@pytest.fixture(scope="module")
def usage() -> ModuleType:
    return import_script("usage")


def write_log(path: Path, cpu: float, startup: float, peak: float) -> None:
    """A log as a step leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    used = {"cpu_seconds": cpu, "startup_seconds": startup, "peak_mb": peak}
    path.write_text(f"epoch 1\nusage: none of this\nusage: {json.dumps(used)}\n")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Of two rules, one with jobs by grid; of a job that failed; and a last line by another."""
    folder = tmp_path / "logs"
    write_log(folder / "claims.log", 1.5, 1.25, 300)
    write_log(folder / "train_flows/digits-mlp/bn.log", 10.5, 2, 400)
    write_log(folder / "train_flows/digits-mlp/ln.log", 30, 2.5, 350.6)
    (folder / "index.log").write_text("error: no space left\n")
    (folder / "train_flows/digits-mlp/ln.log.failed").write_text('usage: {"cpu_seconds": 1}\n')
    with (folder / "claims.log").open("a") as log:
        log.write('usage: {"cpu_seconds": 2.0, "startup_seconds": 1.0, "peak_mb": 200}\n')
    return folder


def test_usage_is_summed_by_rule_the_most_expensive_first(logs: Path, usage: ModuleType) -> None:
    """Of a log with several runs the last one counts, of a failed job none."""
    found = usage.usage_by_rule(logs)
    expected = pd.DataFrame(
        {
            "jobs": [2, 1],
            "cpu_seconds": [40.5, 2.0],
            "startup_seconds": [4.5, 1.0],
            "longest": [30.0, 2.0],
            "peak_mb": [400.0, 200.0],
        },
        index=pd.Index(["train_flows", "claims"], name="rule"),
    )
    pd.testing.assert_frame_equal(found, expected)


def test_all_is_the_last_line(
    logs: Path, usage: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    usage.main(str(logs))
    *_, last = capsys.readouterr().out.splitlines()
    assert last.split() == ["all", "3", "42.5", "5.5", "400"]


def test_without_a_run_there_is_nothing_to_read(tmp_path: Path, usage: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"error: no job's usage below .*; `make reproduce` runs"):
        usage.main(str(tmp_path))


def test_a_step_says_last_what_it_used(
    tmp_path: Path,
    usage: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the words that are read; called in this process, which is not pinned."""
    monkeypatch.setattr(numerics, "pin", lambda mode, threads: None)
    monkeypatch.setattr(numerics, "check", lambda mode, threads: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)  # of a process that ends

    def work(argv: list[str]) -> float:
        print(f"about: {argv}")
        started = time.process_time()
        while time.process_time() < started + 0.05:
            pass
        return 1000.0  # of a process that was interrupted

    monkeypatch.setattr(about, "main", work)
    start.main(["about", "--page", "x", "--numerics", "x86-64-v3", "1"])
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "about: ['--page', 'x']"
    (tmp_path / "about.log").write_text(printed)
    found = usage.usage_by_rule(tmp_path).loc["about"]
    assert 0 < found["startup_seconds"] <= found["cpu_seconds"] - 1000.04
    assert 50 < found["peak_mb"] < 1e5
    assert printed.splitlines()[-1].startswith("usage: ")


def test_the_published_rules_are_those_that_compute() -> None:
    """So that each asks for what it was measured to need. The proofs, which need Coq, say it."""
    profile = read_yaml(ROOT / "config/config.yaml")
    made = artifacts(profile, experiments().values(), datasets())
    assert set(usage_of("quick")) == {artifact.rule for artifact in made}
    assert all(min(used.values()) > 0 for used in usage_of("quick").values())


def test_usage_is_that_of_the_published_profile_or_of_the_largest_of_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_usage, "PUBLISHED", tmp_path)

    def config(profile: str, data: str = "", root: str = ".") -> dict[str, Any]:
        return {"profile": profile, "root": root, "data": {data: {}}}

    assert usage_for(config("quick")) == {}
    for profile, seconds in (("quick", 1), ("images", 4)):
        (tmp_path / profile).mkdir()
        jobs = {"train/a": {"cpu_seconds": seconds, "peak_mb": 10 * seconds}}
        jobs |= {f"prepare_data/{profile}": {"cpu_seconds": 1, "peak_mb": 1}}
        jobs |= {"train/b": {"cpu_seconds": 2 * seconds, "peak_mb": 5}}
        (tmp_path / profile / "jobs.json").write_text(json.dumps(jobs))
    assert usage_for(config("quick"))["train"] == {
        **{"mean_seconds": 1.5, "longest_seconds": 2, "peak_mb": 10}
    }
    assert usage_for(config("other"))["train"] == {
        **{"mean_seconds": 3.75, "longest_seconds": 8, "peak_mb": 40}
    }
    assert usage_for(config("other", "quick")) == usage_for(config("quick"))
    (tmp_path / "quick.json").write_text('{"data/a.x": {"bytes": 3}, "data/b.x": {"bytes": 5}}')
    files = ["data/a.x", "data/new.x", "data/new.y"]
    assert [*sizes_for(config("quick"), files).values()] == [3, 5, 0]
    assert sizes_for(config("quick", root="r"), ["r/data/a.x"]) == {"r/data/a.x": 3}
    assert [*sizes_for(config("other", "quick"), files).values()] == [5, 5, 0]
    assert [*sizes_for(config("images"), files).values()] == [0, 0, 0]
    for file, read in (
        ("quick.json", lambda: sizes_for(config("quick"), files)),
        ("quick/jobs.json", lambda: usage_for(config("quick"))),
    ):
        (tmp_path / file).write_text('{"data/a": {"by')
        with pytest.raises(BadInput, match=f"{file}: .* `git restore"):
            read()


def test_every_rule_asks_for_its_resources() -> None:
    """Rules that start no process run where Snakemake does."""
    for file in sorted((ROOT / "workflow").rglob("*.smk")):
        rules = re.split(r"^ *rule\b", file.read_text(), flags=re.MULTILINE)[1:]
        for rule in rules:
            assert ("    shell:\n" in rule) == ("    resources:" in rule), (file, rule)
