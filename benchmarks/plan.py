"""How long Snakemake plans a large grid.

    python benchmarks/plan.py

Counts the runs of ``config/full.yaml`` and times ``snakemake -n`` on it. Best of three.
"""

import subprocess
import time
from pathlib import Path

from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.discovery import experiments

PROFILE = "config/full.yaml"


def runs() -> int:
    """Trainings that the profile plans: one for each seed of each cell."""
    profile = read_yaml(Path(PROFILE))
    trained = [experiment.training for experiment in experiments().values() if experiment.training]
    grids = [cells for training in trained for cells in training.cells(profile).values()]
    return sum(len(cell.seeds) for cells in grids for cell in cells)


def planning() -> float:
    """Seconds of one dry run."""
    start = time.monotonic()
    command = ["snakemake", "-n", "--quiet", "all", "--configfile", PROFILE]
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - start


def main() -> None:
    seconds = min(planning() for _ in range(3))
    print(f"snakemake -n of {PROFILE}, {runs():,} runs: {seconds:.1f} seconds")


if __name__ == "__main__":
    main()
