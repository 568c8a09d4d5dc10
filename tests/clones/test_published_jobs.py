"""What profiles have published that nobody runs by default is what their code computes."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.paths import Paths
from bnblind.pipeline.sources import Missing, fetch
from tests.conftest import ROOT
from tests.helpers.clones import Clone
from tests.helpers.commit import by_commit

LONGEST = 90
"""CPU seconds of a job that is run anew here."""


def available(dataset: str) -> bool:
    """Whether the machine has every file of a data set; nothing is loaded from the network."""
    for file in datasets()[dataset]["files"].values():
        local = [source for source in file["sources"] if not source.startswith("https:")]
        for source in local:
            try:
                fetch(source)
                break
            except Missing:
                continue
        else:
            return False
    return True


def short_jobs(profile: str) -> Iterator[tuple[str, list[str]]]:
    """The training jobs of a published profile that take a minute at most, and what each makes."""
    config, declared = read_yaml(Path(f"config/{profile}.yaml")), experiments()
    found, paths = {name for name in config["data"] if available(name)}, Paths(config["root"])
    jobs = json.loads(Path(f"published/{profile}/jobs.json").read_text())
    for name, used in jobs.items():
        rule, *place = name.split("/")
        experiment = declared.get(rule.removeprefix("train_"))
        if experiment is None or experiment.training is None or used["cpu_seconds"] > LONGEST:
            continue
        training, (grid, job) = experiment.training, place
        if {cell.dataset for cell in training.cells(config)[grid]} <= found:
            kept = ("results", *training.keeps)
            yield name, [paths.trained(kind, experiment.name, grid, job) for kind in kept]


def test_a_job_of_another_profile_ends_in_the_published_bytes(
    workspace: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one for each commit."""
    monkeypatch.chdir(ROOT)
    shown = read_yaml(Path("config/config.yaml"))["shows"]
    jobs = [(profile, *job) for profile in shown for job in short_jobs(profile)]
    assert {profile for profile, *_ in jobs} == {*shown}
    ((profile, name, files),) = by_commit(jobs, 1)
    print(f"{profile}: {name}")
    workspace.run("snakemake", "--cores", "1", *files, "--configfile", f"config/{profile}.yaml")
    record = json.loads(Path(f"published/{profile}.json").read_text())
    for path in files:
        content = (workspace.path / path).read_bytes()
        known = record[str(Path(path).relative_to(f"runs/{profile}"))]
        assert hashlib.sha256(content).hexdigest() == known["sha256"], path
