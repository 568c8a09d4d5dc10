"""Say of each file of this run whether it is the published one, by reading its bytes.

The published record, published/PROFILE.json, holds size, md5 and sha256 of every file below data/
and reports/; beside it lie the configuration and the numbers to compare. Writes
reports/receipt.json and a page of it: the files, the verdicts, the machine and its libraries, and
what each job used. Exits 1 if a file is missing, different or not published, or a setting is not as
it was. Under numerics: fast bits differ from machine to machine; there the tables without training
must be within tolerance and, in each row of the ledger, the interval must meet the published one.
"""

import argparse
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bnblind.numerics import LEVELS
from bnblind.review import add_profile

Receipt = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_profile(parser)
    parser.add_argument(
        "--against", type=Path, help="compare with another run, by its folder or its receipt"
    )
    parser.add_argument("--record", action="store_true", help="make the published record instead")


def problems(receipt: Receipt, exact: Iterable[str]) -> Iterator[str]:
    """What keeps this run from being the other one, in lines.

    Args:
        exact: the tables without training.
    """
    from bnblind.review.comparison import DIFFERENT, IDENTICAL, WITHIN, in_words

    pinned = {*receipt["numerics"]} <= {*LEVELS}
    for path, found in receipt["files"].items():
        moved = found["verdict"] in (DIFFERENT, WITHIN)
        forgiven = moved and not (path in exact and found["verdict"] == DIFFERENT)
        if found["verdict"] != IDENTICAL and (pinned or not forgiven):
            yield in_words(path, found)
    if not pinned:
        yield from (f"its interval does not meet the other one: {row}" for row in receipt["apart"])


def summary(receipt: Receipt) -> Iterator[str]:
    """The verdict on each claim, those that flip, and how many files are identical."""
    from bnblind.review.comparison import EXTRA, IDENTICAL

    if receipt["commit"] is None:
        yield "without git or its history the receipt names no commit"
    for name, row in receipt["rows"].items():
        if "." not in name:
            yield f"{name}: {row['verdict']}"
    for name, (there, here) in receipt["flips"].items():
        yield f"{name} flips: {there} there, {here} here"
    counts = Counter(file["verdict"] for file in receipt["files"].values())
    if receipt["against"]:
        total = sum(counts.values()) - counts[EXTRA]
        yield f"{counts[IDENTICAL]} of {total} files identical to {receipt['against']}"
    else:
        yield f"{sum(counts.values())} files; the profile {receipt['profile']} has no record"


def _publish(
    found: Mapping[str, Any], tables: set[str], root: Path, config: Mapping[str, Any]
) -> None:
    """Make the record; beside it the configuration, and a copy of the numbers."""
    from bnblind.pipeline.artifacts import Paths
    from bnblind.pipeline.formats.files import json_bytes, publish
    from bnblind.review.runs import numbers_of, record_of, settings, settings_of

    profile = config["profile"]
    folder = numbers_of(profile)
    shutil.rmtree(folder, ignore_errors=True)
    for name in found:
        if name in tables or name.endswith(".csv") or name == Paths(".").ledger():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)
    publish({settings_of(profile): settings(config), record_of(profile): json_bytes(found)})
    print(f"{record_of(profile)}: {len(found)} files")


def run(args: argparse.Namespace) -> None:
    """Compare, or make the record; raise SystemExit with status 1 where a file is another."""
    from bnblind.pipeline.artifacts import Paths
    from bnblind.pipeline.formats.files import json_bytes, publish
    from bnblind.pipeline.formats.pages import fill
    from bnblind.review import comparison, runs
    from bnblind.review.machine import commit, jobs_in, machine, origin
    from bnblind.review.workflow import read_profile

    config, declared, made = read_profile(args.configfile)
    root, profile = Path(config["root"]), config["profile"]
    analysed = [a for a in made if a.kind == "table" and a.stage == "analysed"]
    tables = {Path(a.path).relative_to(root).as_posix(): declared[a.experiment] for a in analysed}
    if args.record:
        _publish(runs.files_below(root), {*tables}, root, config)
        return
    here, there, against = runs.run_below(root), None, args.against
    if against:
        there = runs.run_below(against) if against.is_dir() else runs.run_of_receipt(against)
    elif profile == "quick" or runs.record_of(profile).is_file():
        there, against = runs.published_run(profile), "the published record"
    files = comparison.compared(here, there or here)
    logs = root / "logs"
    jobs = jobs_in(logs)
    receipt = {
        **{"profile": profile, "against": str(against or "")},
        "files": {
            name: {"sha256": here.files.get(name)}
            | (file if there else {"verdict": "not compared"})
            for name, file in files.items()
        },
        "rows": here.rows,
        "flips": comparison.flips(here, there) if there else {},
        "apart": comparison.apart(here, there) if there else [],
        "origin": origin(logs),
        "numerics": sorted({job["numerics"] for job in jobs.values()} or {config["numerics"]}),
        **{"machine": machine(), **commit(), "jobs": jobs},
    }
    exact = [path for path, experiment in tables.items() if not experiment.learns]
    lines = [*problems(receipt, exact)] if there else []
    if there and not args.against:
        lines += runs.changed_settings(config)
    files_of_it = Path(Paths(str(root)).receipt())
    page = fill("receipt.html.j2", receipt=receipt, summary=[*summary(receipt)], problems=lines)
    publish({files_of_it: json_bytes(receipt), files_of_it.with_suffix(".html"): page})
    print(*summary(receipt), sep="\n")
    print(f"report: {Paths(str(root)).index()}, receipt: {files_of_it.with_suffix('.html')}")
    if lines:
        raise SystemExit(f"error: not the run of {against}\n  " + "\n  ".join(lines))
