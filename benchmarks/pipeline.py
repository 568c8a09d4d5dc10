"""Where the pipeline's CPU seconds go, from the logs of the last whole run.

    python benchmarks/pipeline.py

Work is what a step spends after its imports (a notebook's kernel included); the rest is starting
interpreters, importing libraries, and Snakemake itself.
"""

import json
import re
from collections import defaultdict
from pathlib import Path

LINE = re.compile(r"^CPU seconds: ([0-9.]+), of them ([0-9.]+) before the work began$", re.M)
PAGES = ("_page", "contact_sheet", "index", "about", "claims")


def step_seconds() -> dict[str, list[float]]:
    """Kind of step -> CPU seconds of its work, of its starts, and how many jobs."""
    kinds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for log in sorted(Path("logs").rglob("*.log")):
        found = LINE.findall(log.read_text(errors="replace"))
        if not found:
            continue
        name = log.relative_to("logs").parts[0].removesuffix(".log")
        kind = "pages and figures" if name.endswith(PAGES) else name
        total, start = map(float, found[-1])
        for i, value in enumerate((total - start, start, 1)):
            kinds[kind][i] += value
    return kinds


def whole_run() -> float:
    """CPU seconds of the longest `snakemake` of `make reproduce`, the one that ran all jobs."""
    lines = Path("logs/benchmarks/runs.jsonl").read_text().splitlines()
    return max(run["cpu"] for run in map(json.loads, lines) if run["code"] == 0)


def main() -> None:
    try:
        total = whole_run()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: no finished run; `make reproduce` makes one ({error})") from error
    kinds = step_seconds()
    steps = sum(work + start for work, start, _ in kinds.values())
    if total < steps:
        raise SystemExit(
            f"error: the logs are of several runs: their steps took {steps:.0f} CPU seconds, the "
            f"longest run {total:.0f}. A run in a fresh clone says what one costs"
        )
    print(f"{'step':24} {'jobs':>5} {'work':>8} {'start':>8}   CPU seconds")
    for kind, (work, start, jobs) in sorted(kinds.items(), key=lambda item: -item[1][0]):
        print(f"{kind:24} {jobs:5.0f} {work:8.1f} {start:8.1f}")
    work = sum(values[0] for values in kinds.values())
    pages = kinds["pages and figures"][0]
    print(f"{'all':24} {sum(v[2] for v in kinds.values()):5.0f} {work:8.1f}")
    print(
        f"whole run, Snakemake included: {total:.0f} CPU seconds; inside training and analysis "
        f"{(work - pages) / total:.0%}, with pages and figures {work / total:.0%}"
    )


if __name__ == "__main__":
    main()
