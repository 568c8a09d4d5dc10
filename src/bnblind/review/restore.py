"""Fetch the published run from a DVC remote, instead of computing it.

Everything is fetched into a temporary place and hashed against the published record; only then is
it put into place, and Snakemake told that it is up to date. Where anything fails, what was there
stays as it was.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bnblind.errors import BadInput
from bnblind.review import DEFAULT
from bnblind.review.machine import RESTORED, commit

REASONS = {
    "refused the user or the password": r"Unauthorized|Forbidden|ermission denied|AccessDenied",
    "cannot be reached": r"Cannot connect|[Cc]onnection|resolve host|isconnected|unreachable",
    "lacks files of the published run": r"missing-files|failed to download|do(es)? not exist",
}
"""What is said of a remote, and what DVC then says; the first that fits."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "remote", nargs="?", help="name of a DVC remote, or an URL (default: DVC's default remote)"
    )


def _dvc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", "--cd", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True)


def _remotes() -> dict[str, str]:
    """The remotes that DVC knows here: name -> URL, local ones as absolute paths."""
    lines = [line.split() for line in _dvc(Path(), "remote", "list").stdout.splitlines()]
    return {
        line[0]: line[1] if "://" in line[1] else str((Path(".dvc") / line[1]).resolve())
        for line in lines
    }


def _pull(remote: str | None, place: Path) -> None:
    """Have DVC fetch the published run into the empty folder ``place``, past its usual cache.

    Raises:
        BadInput: it cannot; with the reason.
    """
    for name in ("dvc.yaml", "dvc.lock", ".dvc/config", ".dvc/config.local"):
        if Path(name).is_file():
            (place / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(name, place / name)
    _dvc(place, "config", "core.no_scm", "true")
    known = _remotes()
    for name, url in known.items():
        if "://" not in url:
            _dvc(place, "remote", "modify", name, "url", url)
    if remote and remote not in known:
        _dvc(place, "remote", "add", "--force", "asked", remote)
    chosen = ["--remote", remote if remote in known else "asked"] if remote else []
    # A refused password shows only there; each file is tried several times, so many at once.
    pulled = _dvc(place, "pull", "--verbose", "--jobs", "64", *chosen)
    if pulled.returncode:
        told = f"{pulled.stdout}\n{pulled.stderr}"
        failed = f"failed: {' '.join(re.findall('ERROR: (.*)', told))}"
        reason = next((r for r, words in REASONS.items() if re.search(words, told)), failed)
        raise BadInput(f"the remote {remote or 'that is the default'} {reason}")


def _put_into_place(names: Iterable[str], place: Path) -> None:
    """Move the files from ``place``; if one cannot be moved, put back all that were there."""
    replaced: list[str] = []
    try:
        for name in names:
            new, old, here = place / name, place / "before" / name, Path(name)
            for folder in (old.parent, here.parent):
                folder.mkdir(parents=True, exist_ok=True)
            if here.exists():
                os.replace(here, old)
            replaced.append(name)
            os.replace(new, here)
    except OSError:
        for name in replaced:
            Path(name).unlink(missing_ok=True)
            if (place / "before" / name).exists():
                os.replace(place / "before" / name, name)
        raise


def run(args: argparse.Namespace) -> None:
    """Restore the run of the default profile, or refuse and leave everything as it was."""
    from bnblind.review.runs import files_below, read_record, record_of
    from bnblind.review.workflow import snakemake

    record, state = read_record(record_of("quick")), commit()
    if state["clean"] is False:
        raise BadInput("the tree is not as committed: commit or stash what `git status` shows")
    if state["clean"] is None:
        print("no git history here: whether the code is the published one cannot be told")
    if extra := sorted({*files_below(Path())} - {*record}):
        raise BadInput("not published, move them away first:\n  " + "\n  ".join(extra))
    Path(".dvc/tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=".dvc/tmp", prefix="restore-") as folder:
        place = Path(folder)
        _pull(args.remote, place)
        found = files_below(place)
        if wrong := [name for name in record if found.get(name) != record[name]]:
            raise BadInput("the remote's files are not those published:\n  " + "\n  ".join(wrong))
        _put_into_place(record, place)
    snakemake(DEFAULT, "--touch", "--forceall")
    if "Nothing to be done" not in (plan := snakemake(DEFAULT, "--dry-run", "--quiet", "rules")):
        raise BadInput(f"restored, and still to be made; call `bnblind plan`:\n{plan[-2000:]}")
    origin = f"restored from {args.remote or 'the default remote'}"
    Path("logs").mkdir(exist_ok=True)
    (Path("logs") / RESTORED).write_text(origin + "\n")
    print(f"{len(record)} files {origin}, each as published; Snakemake has nothing to do")
