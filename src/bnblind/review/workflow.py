"""A profile, and what Snakemake says of it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.pipeline.artifacts import Artifact, artifacts
from bnblind.pipeline.configuration.check import check_config
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.declaration import Experiment
from bnblind.pipeline.discovery import experiments
from bnblind.review import DEFAULT
from bnblind.review.machine import usable_cache


def read_profile(file: Path) -> tuple[dict[str, Any], dict[str, Experiment], list[Artifact]]:
    """The configuration, the experiments by name, and every file that the profile makes. Raises
    BadInput if it is not a profile, OSError if it cannot be read.
    """
    config, declared = read_yaml(file), experiments()
    check_config(config, declared.values())
    return config, declared, artifacts(config, declared.values(), datasets())


def snakemake(configfile: Path, *words: str) -> str:
    """What Snakemake prints, called with these words for that profile. If it fails, the BadInput
    has the last lines that it printed.
    """
    profile = [] if configfile == DEFAULT else ["--configfile", str(configfile)]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *words, *profile]
    usable_cache()
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        told = f"{ended.stdout}\n{ended.stderr}".strip().splitlines()[-10:]
        raise BadInput("snakemake failed:\n  " + "\n  ".join(told))
    return ended.stdout
