"""Compare every file of this run, byte by byte, with the published one.

The published record, published/PROFILE.json, holds size, md5 and sha256 of every file below data/
and reports/; beside it lie the configuration and the numbers to compare. Writes
reports/receipt.json and a page of it: the files, the verdicts, the machine and its libraries, and
what each job used. Exits 1 if a file is missing, different or extra, or a setting is not as it was.
Bits differ between numerics, and under fast from machine to machine; there raw files must be
identical, the tables without training within tolerance, the ledger what the tables say, and in each
of its rows the interval must meet the published one.
"""

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnblind.errors import BadInput
from bnblind.review import add_profile
from bnblind.review.terminal import coloured, within

if TYPE_CHECKING:
    from bnblind.review.runs import Run

Receipt = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_profile(parser)
    parser.add_argument(
        "--against", type=Path, help="compare with another run, by its folder or its receipt"
    )
    parser.add_argument("--record", action="store_true", help="make the published record instead")


def by_numbers(here: "Run", there: "Run") -> bool:
    """Whether numbers are compared, not bits: each run's jobs all computed in one way, and these
    ways differ, or let libraries choose.
    """
    ways = [*here.numerics, *there.numerics]
    single = len(here.numerics) == len(there.numerics) == 1
    return single and (ways[0] != ways[1] or ways[0] == "fast")


def problems(receipt: Receipt, *, bits: bool, raw: set[str], exact: set[str]) -> Iterator[str]:
    """What keeps this run from being the other one, in lines. Unless all ``bits`` have to be the
    same, the ``raw`` files have to be, and the ``exact`` tables, those without training, within
    tolerance.
    """
    from bnblind.review.comparison import DIFFERENT, IDENTICAL, WITHIN, in_words

    for path, found in receipt["files"].items():
        allowed = {IDENTICAL} if bits or path in raw else {IDENTICAL, WITHIN, DIFFERENT}
        if found["verdict"] not in allowed - ({DIFFERENT} if path in exact else set()):
            yield in_words(path, found)
    if not bits:
        yield from (f"its interval does not meet the other one: {row}" for row in receipt["apart"])


def summary(receipt: Receipt) -> Iterator[str]:
    """The verdict on each claim, those that flip, and how many files are identical."""
    from bnblind.review.comparison import EXTRA, IDENTICAL, MISSING

    if receipt["commit"] is None:
        yield "without git or its history the receipt names no commit"
    verdicts = {name: row["verdict"] for name, row in receipt["rows"].items() if "." not in name}
    yield from (f"{name}: {verdict}" for name, verdict in verdicts.items())
    if told := [f"{n} {verdict}" for verdict, n in Counter(verdicts.values()).items()]:
        yield f"claims: {', '.join(told)}"
    for name, (there, here) in receipt["flips"].items():
        yield f"{name} flips: {there} there, {here} here"
    counts = Counter(file["verdict"] for file in receipt["files"].values())
    if receipt["against"]:
        total = sum(counts.values()) - counts[EXTRA]
        yield f"{counts[IDENTICAL]} of {total} files identical to {receipt['against']}"
    else:
        number = sum(counts.values()) - counts[MISSING]
        yield f"{number} files; the profile {receipt['profile']} has no record"


def _publish(
    found: Mapping[str, Any],
    copied: set[str],
    jobs: Mapping[str, Any],
    root: Path,
    config: Mapping[str, Any],
) -> None:
    """Make the record; beside it the configuration, the machine, what each job used, and a copy of
    the numbers and of what else is to be ``copied``.
    """
    from bnblind.pipeline.formats.files import json_bytes, publish
    from bnblind.pipeline.paths import Paths
    from bnblind.review.machine import machine
    from bnblind.review.runs import numbers_of, record_of, settings, settings_of

    profile = config["profile"]
    folder = numbers_of(profile)
    shutil.rmtree(folder, ignore_errors=True)
    for name in found:
        if name in copied or name.endswith(".csv") or name == Paths(".").ledger():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)
    publish(
        {
            settings_of(profile): settings(config),
            folder / "machine.json": json_bytes(machine()),
            folder / "jobs.json": json_bytes(jobs),
            record_of(profile): json_bytes(found),
        }
    )
    print(f"{record_of(profile)}: {len(found)} files")


def run(args: argparse.Namespace) -> None:
    """Compare, or make the record; raise SystemExit with status 1 where a file is another."""
    from bnblind.pipeline.formats.files import json_bytes, publish
    from bnblind.pipeline.formats.pages import fill
    from bnblind.pipeline.paths import Paths
    from bnblind.review import comparison, runs
    from bnblind.review.machine import commit, jobs_in, machine, origin
    from bnblind.review.verify import ledger_problems
    from bnblind.review.workflow import read_profile

    config, declared, made = read_profile(args.configfile)
    root, profile, against = Path(config["root"]), config["profile"], args.against
    paths = {Path(a.path).relative_to(root).as_posix(): a for a in made}
    tables = {p: a for p, a in paths.items() if a.kind == "table" and a.stage == "analysed"}
    # Logs of jobs that the configuration no longer has may lie beside the others.
    known = {artifact.job for artifact in made}
    jobs = {name: used for name, used in jobs_in(root / "logs").items() if name in known}
    if args.record:
        # Others show what a profile with a folder of its own has published, images too.
        shown = config["root"] != "."
        samples = {p for p, a in paths.items() if a.kind == "samples" and shown}
        _publish(runs.files_below(root), {*tables} | samples, jobs, root, config)
        return
    here, there, record = runs.run_below(root), None, runs.record_of(profile)
    if against:
        there = runs.run_below(against) if against.is_dir() else runs.run_of_receipt(against)
        if not there.files:
            raise BadInput(f"{against} holds no file of a run")
    elif profile == "quick" or record.is_file():
        there, against = runs.published_run(profile), "the published record"
    if there:
        files = comparison.compared(here, there)
    else:
        files = {name: {"verdict": "not compared"} for name in here.files}
        files |= {name: {"verdict": comparison.MISSING} for name in {*paths} - {*files}}
    logs = root / "logs"
    receipt = {
        **{"profile": profile, "against": str(against or "")},
        "record": runs.hashes_of(record)["sha256"] if record.is_file() else None,
        "files": {name: {"sha256": here.files.get(name)} | files[name] for name in sorted(files)},
        "rows": here.rows,
        "flips": comparison.flips(here, there) if there else {},
        "apart": comparison.apart(here, there) if there else [],
        # Those of data/: DVC writes single files of reports/ anew as it records them.
        "origin": origin(logs, (root / n for n in here.files if n.startswith("data/"))),
        "numerics": list(here.numerics or [config["numerics"]]),
        **{"machine": machine(), **commit(), "jobs": jobs},
    }
    if there:
        bits = not by_numbers(here, there)
        raw = {path for path, artifact in paths.items() if artifact.rule == "export_data"}
        exact = {path for path, a in tables.items() if not declared[a.experiment].of_grids}
        lines = [*problems(receipt, bits=bits, raw=raw, exact=exact)]
        lines += [] if bits or lines else ledger_problems(root)
        lines += [] if args.against else runs.changed_settings(config)
    else:
        lines = [f"missing: {name}" for name in sorted({*paths} - {*here.files})]
    file = Path(Paths(str(root)).receipt())
    page = fill("receipt.html.j2", receipt=receipt, summary=[*summary(receipt)], problems=lines)
    publish({file: json_bytes(receipt), file.with_suffix(".html"): page})
    print(*(coloured(within(line)) for line in summary(receipt)), sep="\n")
    print(f"report: {Paths(str(root)).index()}, receipt: {file.with_suffix('.html')}")
    if lines:
        what = f"not the run of {against}" if there else "not a whole run"
        raise SystemExit(f"error: {what}\n  " + "\n  ".join(lines))
