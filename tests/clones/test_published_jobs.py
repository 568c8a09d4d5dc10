"""What profiles have published that nobody runs by default is what their code computes."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bnblind.experiments.cells import Cell
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.declaration import Experiment
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.paths import Paths
from bnblind.pipeline.sources import Missing, fetch
from tests.conftest import ROOT
from tests.helpers.clones import Clone
from tests.helpers.commit import beside_no_fresh_machine, by_commit

LONGEST_JOB, LONGEST_SEED = 30, 60
"""CPU seconds of a job, and of a seed of one, that are run anew here."""


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
    """The training jobs of a published profile that are short enough, and what each makes."""
    config, declared = read_yaml(Path(f"config/{profile}.yaml")), experiments()
    found, paths = {name for name in config["data"] if available(name)}, Paths(config["root"])
    jobs = json.loads(Path(f"published/{profile}/jobs.json").read_text())
    for name, used in jobs.items():
        rule, *place = name.split("/")
        experiment = declared.get(rule.removeprefix("train_"))
        if experiment is None or experiment.training is None or used["cpu_seconds"] > LONGEST_JOB:
            continue
        training, (grid, job) = experiment.training, place
        if {cell.dataset for cell in training.cells(config)[grid]} <= found:
            kept = ("results", *training.keeps)
            yield name, [paths.trained(kind, experiment.name, grid, job) for kind in kept]


@beside_no_fresh_machine
def test_a_job_of_another_profile_ends_in_the_published_bytes(
    workspace: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one for each commit."""
    monkeypatch.chdir(ROOT)
    shown = read_yaml(Path("config/config.yaml"))["shows"]
    others = {*shown} - {"images"}
    jobs = [(profile, *job) for profile in sorted(others) for job in short_jobs(profile)]
    assert {profile for profile, *_ in jobs} == others
    ((profile, name, files),) = by_commit(jobs, 1)
    print(f"{profile}: {name}")
    workspace.run("snakemake", "--cores", "1", *files, "--configfile", f"config/{profile}.yaml")
    record = json.loads(Path(f"published/{profile}.json").read_text())
    for path in files:
        content = (workspace.path / path).read_bytes()
        known = record[str(Path(path).relative_to(f"runs/{profile}"))]
        assert hashlib.sha256(content).hexdigest() == known["sha256"], path


def short_runs() -> Iterator[tuple[Experiment, Cell, int]]:
    """The runs of the profile ``images`` that are short enough: experiment, cell and seed."""
    config = read_yaml(Path("config/images.yaml"))
    used = json.loads(Path("published/images/jobs.json").read_text())
    for name, experiment in experiments().items():
        if experiment.training is None or name not in config:
            continue
        for grid, jobs in experiment.training.jobs(config).items():
            for job, cells in jobs.items():
                runs = [(cell, seed) for cell in cells for seed in cell.seeds]
                seconds = used[f"train_{name}/{grid}/{job}"]["cpu_seconds"] / len(runs)
                if seconds <= LONGEST_SEED and available(cells[0].dataset):
                    yield from ((experiment, *run) for run in runs)


@pytest.mark.skipif(not available("fashion_mnist"), reason="needs Debian's dataset-fashion-mnist")
def test_a_run_on_real_images_ends_in_the_published_numbers(
    workspace: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one for each commit: to the last bit of every loss and accuracy."""
    monkeypatch.chdir(ROOT)
    runs = [*short_runs()]
    assert len(runs) > 100
    ((experiment, cell, seed),) = by_commit(runs, 1)
    assert experiment.training is not None
    print(f"{experiment.name}: {cell.name(seed)}")
    prepared = Paths("runs/images").prepared(cell.dataset)
    images = ("--configfile", "config/images.yaml")
    workspace.run("snakemake", "--cores", "1", prepared, *images)
    workspace.run(
        *("python", "-m", "bnblind.pipeline", "train", "--numerics", "x86-64-v3", "1"),
        *(
            "--kind",
            experiment.training.kind,
            "--cells",
            json.dumps([replace(cell, seeds=(seed,)).settings()]),
        ),
        *("--prepared", prepared, "--checkpoint", "checkpoint", "--results", "results"),
    )
    found = pd.read_parquet(workspace.path / "results")
    known = pd.read_parquet(Paths("published/images").table(experiment.name))
    for column, value in {**cell.identity, "seed": seed}.items():
        known = known[known[column].isna() if value is None else known[column] == value]
    assert len(found) > 10
    columns = [column for column in found if found[column].notna().any()]
    order = [column for column in ("epoch", "metric", "share") if column in columns]
    pd.testing.assert_frame_equal(
        *(table[columns].sort_values(order, ignore_index=True) for table in (found, known)),
        check_exact=True,
        check_dtype=False,
    )
