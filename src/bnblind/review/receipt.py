"""Say of each file of this run whether it is the published one, by reading its bytes.

The published record, published/quick.json, holds size, md5 and sha256 of every file below data/
and reports/. Writes reports/receipt.json: the files, the verdicts, the machine and its libraries,
and what each job used. Exits 1 if a file is missing, different or not published.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.review.verify import read_ledger

RECORD = Path("published/quick.json")
RECEIPT = Path("reports/receipt.json")
FOLDERS = ("data", "reports")
IDENTICAL, DIFFERENT, MISSING, EXTRA = "identical", "different", "missing", "not published"
LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "matplotlib", "scikit-learn", "snakemake")
USAGE = re.compile(r"^usage: (\{.*\})$", re.MULTILINE)
NOT_OF_THE_RUN = {
    *("data/README.md", "reports/README.md"),
    *("data/results/proofs.json", RECEIPT.as_posix()),
}
"""Files there that no job of the profile makes."""

Hashes = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", action="store_true", help="make the published record instead")


def hashes_of(path: Path) -> Hashes:
    """Size, md5 (what DVC records) and sha256 of a file, read from its bytes."""
    content = path.read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return {"bytes": len(content), "md5": md5, "sha256": hashlib.sha256(content).hexdigest()}


def files_here(root: Path = Path()) -> dict[str, Hashes]:
    """Of every file of a run below ``root``: path -> its hashes."""
    files = sorted(file for folder in FOLDERS for file in (root / folder).rglob("*"))
    own = {file.relative_to(root).as_posix(): file for file in files if file.is_file()}
    return {name: hashes_of(file) for name, file in own.items() if name not in NOT_OF_THE_RUN}


def read_record(path: Path = RECORD) -> dict[str, Hashes]:
    """Raises BadInput if there is no record, or if it is not one."""
    if not path.is_file():
        raise BadInput(f"there is no published record {path}; call it in the project's folder")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not all(set(entry) == {"bytes", "md5", "sha256"} for entry in record.values()):
            raise ValueError("an entry is not of bytes, md5 and sha256")
    except (ValueError, AttributeError, TypeError) as error:
        raise BadInput(f"{path} is not a published record: {error}") from error
    return dict(record)


def compared(record: Mapping[str, Hashes], found: Mapping[str, Hashes]) -> dict[str, str]:
    """Of every path that either has: whether its bytes are the published ones."""

    def verdict(path: str) -> str:
        if path not in record:
            return EXTRA
        if path not in found:
            return MISSING
        return IDENTICAL if found[path] == record[path] else DIFFERENT

    return {path: verdict(path) for path in sorted({*record, *found})}


def jobs_in(logs: Path) -> dict[str, dict[str, float]]:
    """What each job used, from the last ``usage:`` line of its log, by the log's name; logs without
    one, such as those of failed jobs, do not count.
    """
    found = {}
    for log in sorted(logs.rglob("*.log")):
        if lines := USAGE.findall(log.read_text(errors="replace")):
            found[str(log.relative_to(logs).with_suffix(""))] = json.loads(lines[-1])
    return found


def _printed(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def processor() -> str:
    """The processor's name, as Linux tells it."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.M) if info.is_file() else []
    return names[0] if names else platform.processor()


def machine() -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def commit() -> dict[str, Any]:
    """The commit, and whether the tree is as it says; nothing where git or its history lacks."""
    name = _printed("git", "rev-parse", "HEAD")
    return {"commit": name, "clean": not _printed("git", "status", "--porcelain")} if name else {}


def verdicts(ledger: Path) -> dict[str, str]:
    """Each claim's verdict in the run's ledger; none if that is missing or damaged."""
    try:
        rows = read_ledger(ledger)
    except BadInput:  # its bytes say it
        return {}
    return {row["id"]: row["verdict"] for row in rows if "." not in row["id"]}


def _listed(files: Mapping[str, str], verdict: str) -> Iterable[str]:
    return (f"{verdict}: {path}" for path, of_file in files.items() if of_file == verdict)


def run(args: argparse.Namespace) -> None:
    """Compare, or make the record; raise SystemExit with status 1 where a file is another."""
    from bnblind.pipeline.artifacts import Paths
    from bnblind.pipeline.formats.files import json_bytes, publish

    found = files_here()
    if args.record:
        publish({RECORD: json_bytes(found)})
        print(f"{RECORD}: {len(found)} files")
        return
    files = compared(read_record(), found)
    counts, claims = Counter(files.values()), verdicts(Path(Paths(".").ledger()))
    content = {
        **{"files": files, "verdicts": claims, "machine": machine(), **commit()},
        "jobs": jobs_in(Path("logs")),
    }
    publish({RECEIPT: json_bytes(content)})
    for claim, verdict in claims.items():
        print(f"{claim}: {verdict}")
    total = len(files) - counts[EXTRA]
    print(f"{counts[IDENTICAL]} of {total} files identical to the published record")
    print(f"report: {Paths('.').index()}, receipt: {RECEIPT}")
    if problems := [line for kind in (MISSING, DIFFERENT, EXTRA) for line in _listed(files, kind)]:
        raise SystemExit("error: not the published run\n  " + "\n  ".join(problems))
