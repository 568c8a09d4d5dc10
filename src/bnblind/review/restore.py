"""Fetch the published run from a DVC remote, instead of computing it.

Everything is fetched into a temporary place and hashed against the published record; only then is
it put into place, and Snakemake told that it is up to date. Where anything fails, what was there
stays as it was. Code and configuration must be those of the published run.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


def shown(words: str) -> str:
    """Without the user and the password that an URL may hold."""
    return re.sub(r"://[^/@\n]*@", "://", words)


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


def changed_code() -> list[str]:
    """The files and folders of code that are not as when DVC recorded the published run."""
    stages = json.loads(_dvc(Path(), "status", "--json").stdout or "{}")
    told = [part for parts in stages.values() for part in parts if isinstance(part, dict)]
    names = {name for part in told for name in part.get("changed deps", {})}
    return sorted(name for name in names if not name.startswith("data/"))


def _pull(remote: str | None, place: Path) -> None:
    """Have DVC fetch the published run into the empty folder ``place``, through a cache there; the
    BadInput says why it cannot.
    """
    for name in ("dvc.yaml", "dvc.lock", ".dvc/config", ".dvc/config.local"):
        if Path(name).is_file():
            (place / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(name, place / name)
    cache = {"cache.type": "copy", "cache.dir": str(place.resolve() / ".dvc/cache")}
    for key, value in {"core.no_scm": "true", **cache}.items():
        _dvc(place, "config", "--local", key, value)
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
        raise BadInput(shown(f"the remote {remote or 'that is the default'} {reason}"))


@contextmanager
def put_into_place(names: Iterable[str], place: Path) -> Iterator[None]:
    """Move the files from ``place``; if that or what follows fails, put back what was there."""
    begun: list[str] = []
    try:
        for name in names:
            new, old, here = place / name, place / "before" / name, Path(name)
            for folder in (old.parent, here.parent):
                folder.mkdir(parents=True, exist_ok=True)
            begun.append(name)
            if here.exists():
                os.replace(here, old)
            os.replace(new, here)
        yield
    except BaseException:  # also Ctrl-C
        for name in begun:
            if (place / "before" / name).exists():
                os.replace(place / "before" / name, name)
            elif not (place / name).exists():
                Path(name).unlink(missing_ok=True)
        raise


def run(args: argparse.Namespace) -> None:
    """Restore the run of the default profile, or refuse and leave everything as it was."""
    from bnblind.pipeline.configuration.schema import read_yaml
    from bnblind.review.runs import changed_settings, files_below, read_record, record_of
    from bnblind.review.workflow import snakemake

    record, state = read_record(record_of("quick")), commit()
    if state["clean"] is False:
        raise BadInput("the tree is not as committed: commit or stash what `git status` shows")
    changed = changed_settings(read_yaml(DEFAULT))
    if state["clean"] is None:
        print("no git history here: whether the code is the published one cannot be told")
    else:
        changed += [f"not as published: {name}" for name in changed_code()]
    if changed:
        raise BadInput("this is another run's tree:\n  " + "\n  ".join(changed))
    if extra := sorted({*files_below(Path())} - {*record}):
        raise BadInput("not published, move them away first:\n  " + "\n  ".join(extra))
    Path(".dvc/tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=".dvc/tmp", prefix="restore-") as folder:
        place = Path(folder)
        _pull(args.remote, place)
        found = files_below(place)
        links = {name for name in found if (place / name).is_symlink()}
        if wrong := [n for n in record if found.get(n) != record[n] or n in links]:
            raise BadInput("the remote's files are not those published:\n  " + "\n  ".join(wrong))
        with put_into_place(record, place):
            snakemake(DEFAULT, "--touch", "--forceall")
            plan = snakemake(DEFAULT, "--dry-run", "--quiet", "rules")
            if "Nothing to be done" not in plan:
                raise BadInput(f"Snakemake would make files of it again:\n{plan[-2000:]}")
    for log in Path("logs").rglob("*.log"):  # of a run whose files are no longer here
        log.unlink()
    origin = shown(f"restored from {args.remote or 'the default remote'}")
    Path("logs").mkdir(exist_ok=True)
    (Path("logs") / RESTORED).write_text(origin + "\n")
    print(f"{len(record)} files {origin}, each as published; Snakemake has nothing to do")
