"""What Snakemake plans to run of a profile that has every rule and needs seconds only."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bnblind.pipeline.configuration.schema import read_yaml
from tests.conftest import ROOT, RunPython

JOB = re.compile(r"^rule (?P<rule>\w+):\n(?P<rest>.*?)(?=^\[|\Z)", re.DOTALL | re.MULTILINE)
STEP = "python -m bnblind.pipeline "


@dataclass(frozen=True)
class Job:
    """What one job reads, makes and runs: ``command`` is a step and its options."""

    rule: str
    inputs: set[str]
    outputs: set[str]
    command: list[str]


@dataclass(frozen=True)
class Plan:
    """A run that is planned and not begun, in a folder of its own; jobs in an order that works."""

    folder: Path
    profile: dict[str, Any]
    jobs: list[Job]


def small_profile() -> dict[str, Any]:
    profile = read_yaml(ROOT / "config/smoke.yaml")
    one = {"losses": ["quadratic"], "points": ["zero"], "eps": [0.0]}
    profile["theorems"] |= {"norms": ["bn", "gn"], **one}
    for section in ("classification", "derivatives", "flows"):
        del profile[section]["digits-conv"]
    profile["derivatives"]["digits-head"] |= {"batchings": ["label"], "batch_size": 8}
    profile["features"]["digits-head"]["tsne"]["samples"] = 31
    return profile | {"profile": "small", "root": "runs/small"}


def files_in(listed: str) -> set[str]:
    """The files of a list such as ``a.svg (update), a.pdf (update)``."""
    return {file.partition(" (")[0] for file in listed.split(", ")}


def jobs_in(printed: str) -> list[Job]:
    """The jobs that a dry run prints, but those without a command."""
    jobs = []
    for found in JOB.finditer(printed):
        said = dict(re.findall(r"^ *([\w ]+): (.*)$", found["rest"], re.MULTILINE))
        if said["Shell command"].strip() != "None":
            _, step, command = said["Shell command"].partition(STEP)
            assert step, said["Shell command"]
            words = shlex.split(command.partition(" --numerics ")[0])
            read, made = files_in(said["input"]), files_in(said["output"])
            jobs.append(Job(found["rule"], read, made, words))
    return jobs


def make_plan(folder: Path, run_python: RunPython) -> Plan:
    read = ("config", "docs", "notebooks", "profiles", "proofs", "published", "src", "workflow")
    for name in ("CITATION.cff", "Snakefile", *read):
        (folder / name).symlink_to(ROOT / name)
    profile = small_profile()
    (folder / "small.yaml").write_text(yaml.safe_dump(profile))
    words = ("--dry-run", "--printshellcmds", "--configfile", "small.yaml")
    run = run_python("-m", "snakemake", *words, cwd=folder)
    assert run.returncode == 0, run.stdout + run.stderr
    return Plan(folder, profile, jobs_in(run.stdout + run.stderr))
