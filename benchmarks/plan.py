"""How planning grows with the runs, and with what one job is.

    python benchmarks/plan.py

Times ``snakemake -n`` of ``config/paper.yaml`` with more seeds; prints the table of docs/scale.md.
"""

import json
import resource
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.discovery import experiments

PAPER = Path("config/paper.yaml")
TRAINED = ("classification", "flows")
SIZES = (("norm", 10000), ("seed", 1000), ("seed", 4000), ("seed", 10000))
"""What one job is, and how many runs there are; by the memory that planning takes, since only the
largest of all children so far is known.
"""


def cells(profile: dict[str, Any]) -> int:
    """Cells of the grids whose seeds are multiplied."""
    trained = [experiments()[name].training for name in TRAINED]
    return sum(len(training.all_cells(profile)) for training in trained if training)


def grown(runs: int, jobs: str) -> dict[str, Any]:
    """The profile with about so many runs."""
    profile = read_yaml(PAPER)
    seeds = [*range(80, 80 + round(runs / cells(profile)))]
    for section in TRAINED:
        for grid in profile[section].values():
            grid |= {"jobs": jobs, "seeds": seeds}
    return profile


def main() -> None:
    print("| runs | a job is | jobs | seconds | memory, MB |\n| --- | --- | --- | --- | --- |")
    for jobs, runs in SIZES:
        profile = grown(runs, jobs)
        exact = cells(profile) * len(profile["flows"]["mnist-bn"]["seeds"])
        with TemporaryDirectory() as folder:
            file = Path(folder, "grown.yaml")
            file.write_text(json.dumps(profile))  # JSON is YAML
            start = time.monotonic()
            command = ["snakemake", "-n", "--quiet", "rules", "--configfile", str(file)]
            ended = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.monotonic() - start
        planned = next(line for line in ended.stdout.splitlines() if line.startswith("total"))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        told = (f"{exact:,}", f"one {jobs}", f"{int(planned.split()[1]):,}", f"{seconds:.0f}")
        print(f"| {' | '.join(told)} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
