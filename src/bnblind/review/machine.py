"""What a run was made on and by: the machine, its libraries, the commit, what each job used."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "matplotlib", "scikit-learn", "snakemake")
USAGE = re.compile(r"^usage: (\{.*\})$", re.MULTILINE)
RESTORED = "restored.txt"
"""Beside the logs of a run that was restored: from where, and when."""


def jobs_in(logs: Path) -> dict[str, dict[str, Any]]:
    """What each job used, from the last ``usage:`` line of its log, by the log's name; logs without
    one, such as those of failed jobs, do not count.
    """
    found = {}
    for log in sorted(logs.rglob("*.log")):
        if lines := USAGE.findall(log.read_text(errors="replace")):
            found[str(log.relative_to(logs).with_suffix(""))] = json.loads(lines[-1])
    return found


def origin(logs: Path, files: Iterable[Path]) -> str:
    """Whether the files of a run were computed here or restored, as the jobs' logs tell, which end
    after what the jobs made.
    """
    ended = [logs / f"{name}.log" for name in jobs_in(logs)]
    restored = [note] if (note := logs / RESTORED).is_file() else []
    told = [note.read_text(encoding="utf-8").strip() for note in restored]
    told += [f"computed here (logs of jobs: {len(ended)})"] if ended else []
    last = max((log.stat().st_mtime for log in [*ended, *restored]), default=0.0)
    if told and (later := sum(file.stat().st_mtime > last + 1 for file in files)):
        told.append(f"data files written or touched after all of that: {later}")
    return "; then ".join(told) or "unknown: no job left a log"


def _printed(*command: str) -> str | None:
    """What the command prints; None if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def processor() -> str:
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
    """The commit, and whether the tree is as it says; None where git cannot tell."""
    git = ("git", "--git-dir=.git")  # of this folder; not of one around it
    name = _printed(*git, "rev-parse", "HEAD")
    changed = _printed(*git, "status", "--porcelain") if name else None
    return {"commit": name, "clean": None if changed is None else not changed}


def usable_cache() -> None:
    """Where the user's cache cannot be written, have a folder here in its place; else Snakemake
    would end in a traceback.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = next(folder for folder in (cache, *cache.parents) if os.access(folder, os.F_OK))
    if not os.access(folder, os.W_OK | os.X_OK):
        os.environ["XDG_CACHE_HOME"] = str(Path(".snakemake/cache").resolve())
