"""How long Snakemake plans a large grid.

    python benchmarks/plan.py

Counts the runs of ``config/full.yaml`` and times ``snakemake -n`` on it. Best of three.
"""

import subprocess
import time
from pathlib import Path

from bnblind.pipeline import config

PROFILE = "config/full.yaml"


def runs() -> int:
    """Trainings that the profile plans: a seed of a cell each."""
    profile, datasets = (config.read_yaml(Path(f)) for f in (PROFILE, config.DATASETS))
    cells = [
        *(c for job in config.training_jobs(profile) for c in config.trained_cells(profile, job)),
        *(c for j in config.flow_jobs(profile) for c in config.flow_cells(profile, j, datasets)),
    ]
    for sweep in config.SWEEPS:
        for grid, settings in profile[sweep].items():
            for norm in settings["norms"]:
                job = {"sweep": sweep, "grid": grid, "norm": norm}
                cells += config.sweep_cells(profile, job)
    return sum(len(cell["seeds"]) for cell in cells)


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
