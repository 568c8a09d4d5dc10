"""What each rule's jobs used, from the last line of their logs.

python scripts/usage.py [LOGS]          prints CPU seconds and memory, rule by rule

Start-up is what a job spends before its work begins: starting the interpreter and importing
libraries. Snakemake's own time is not counted.
"""

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, "src")

from bnblind.review.machine import jobs_in

COLUMNS = ["rule", "cpu_seconds", "startup_seconds", "peak_mb"]


def usage_by_rule(logs: Path) -> pd.DataFrame:
    """One row per rule, the most expensive first: its jobs, the sums of their CPU seconds and of
    the start-up seconds among them, the longest job, and the largest peak of memory in MB.

    Reads ``logs/RULE.log`` and ``logs/RULE/**/*.log``.
    """
    jobs = [{"rule": log.split("/")[0], **used} for log, used in jobs_in(logs).items()]
    by_rule = (
        pd.DataFrame(jobs, columns=COLUMNS)
        .groupby("rule")
        .agg(
            jobs=("cpu_seconds", "size"),
            cpu_seconds=("cpu_seconds", "sum"),
            startup_seconds=("startup_seconds", "sum"),
            longest=("cpu_seconds", "max"),
            peak_mb=("peak_mb", "max"),
        )
    )
    return by_rule.sort_values("cpu_seconds", ascending=False, kind="stable")


def as_text(usage: pd.DataFrame) -> str:
    usage.loc["all"] = {**usage.sum(), **usage[["longest", "peak_mb"]].max()}
    lines = [f"{'rule':22} {'jobs':>5} {'CPU seconds':>12} {'of them start-up':>17} {'peak MB':>8}"]
    lines += [
        f"{rule:22} {row['jobs']:5.0f} {row['cpu_seconds']:12.1f} "
        f"{row['startup_seconds']:17.1f} {row['peak_mb']:8.0f}"
        for rule, row in usage.iterrows()
    ]
    return "\n".join(lines)


def main(logs: str = "logs") -> None:
    usage = usage_by_rule(Path(logs))
    if usage.empty:
        raise SystemExit(f"error: no job's usage below {logs}; `make reproduce` runs all jobs")
    print(as_text(usage))


if __name__ == "__main__":
    main(*sys.argv[1:])
