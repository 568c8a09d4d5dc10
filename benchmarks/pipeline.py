"""Where the pipeline's CPU seconds go, rule by rule, from the logs of each job's last run.

    python benchmarks/pipeline.py [LOGS]

Start-up is what a job spends before its work begins: starting the interpreter and importing
libraries. Snakemake's own time is not counted.
"""

import json
import re
import sys
from pathlib import Path

import pandas as pd

USAGE = re.compile(r"^usage: (\{.*\})$", re.MULTILINE)
COLUMNS = ["rule", "cpu_seconds", "startup_seconds", "peak_mb"]


def usage_by_rule(logs: Path) -> pd.DataFrame:
    """One row per rule, the most expensive first: its jobs, the sums of their CPU seconds and of
    the start-up seconds among them, and the largest of their peaks of memory in MB.

    Reads the last ``usage:`` line of ``logs/RULE.log`` and ``logs/RULE/**/*.log``; logs without
    one, such as those of failed jobs, do not count.
    """
    jobs = []
    for log in sorted(logs.rglob("*.log")):
        if lines := USAGE.findall(log.read_text(errors="replace")):
            rule = log.relative_to(logs).parts[0].removesuffix(".log")
            jobs.append({"rule": rule, **json.loads(lines[-1])})
    by_rule = (
        pd.DataFrame(jobs, columns=COLUMNS)
        .groupby("rule")
        .agg(
            jobs=("cpu_seconds", "size"),
            cpu_seconds=("cpu_seconds", "sum"),
            startup_seconds=("startup_seconds", "sum"),
            peak_mb=("peak_mb", "max"),
        )
    )
    return by_rule.sort_values("cpu_seconds", ascending=False, kind="stable")


def main(logs: str = "logs") -> None:
    usage = usage_by_rule(Path(logs))
    if usage.empty:
        raise SystemExit(f"error: no job's usage below {logs}; `make reproduce` runs all jobs")
    usage.loc["all"] = {**usage.sum(), "peak_mb": usage["peak_mb"].max()}
    print(f"{'rule':22} {'jobs':>5} {'CPU seconds':>12} {'of them start-up':>17} {'peak MB':>8}")
    for rule, row in usage.iterrows():
        print(
            f"{rule:22} {row['jobs']:5.0f} {row['cpu_seconds']:12.1f} "
            f"{row['startup_seconds']:17.1f} {row['peak_mb']:8.0f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
