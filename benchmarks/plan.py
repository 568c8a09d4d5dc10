"""How long Snakemake plans a large grid.

    python benchmarks/plan.py

Counts the runs of ``config/full.yaml`` and times ``snakemake -n`` on it. Best of three.
"""

import subprocess
import time
from pathlib import Path

from bnblind.pipeline import cells
from bnblind.pipeline.configuration.schema import DATASETS, read_yaml

PROFILE = "config/full.yaml"


def runs() -> int:
    """Trainings that the profile plans: one for each seed of each cell."""
    profile, datasets = (read_yaml(path) for path in (Path(PROFILE), DATASETS))
    planned = [
        *(c for job in cells.training_jobs(profile) for c in cells.trained_cells(profile, job)),
        *(c for job in cells.flow_jobs(profile) for c in cells.flow_cells(profile, job, datasets)),
    ]
    for sweep in cells.SWEEPS:
        for grid, settings in profile[sweep].items():
            for norm in settings["norms"]:
                job = {"sweep": sweep, "grid": grid, "norm": norm}
                planned += cells.sweep_cells(profile, job)
    return sum(len(cell["seeds"]) for cell in planned)


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
