"""What a run was made on and by: the machine, its libraries, the commit, what each job used."""

import json
import os
import platform
import re
import subprocess
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


def origin(logs: Path) -> str:
    """Whether a run was computed here or restored, as its logs tell."""
    computed = f"computed here by {number} jobs" if (number := len(jobs_in(logs))) else ""
    restored = (logs / RESTORED).read_text().strip() if (logs / RESTORED).is_file() else ""
    return "; then ".join(filter(None, [restored, computed])) or "unknown: no job left a log"


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
    """The commit, and whether the tree is as it says; None where git or its history lacks."""
    git = ("git", "--git-dir=.git")  # of this folder; not of one around it
    name = _printed(*git, "rev-parse", "HEAD")
    clean = not _printed(*git, "status", "--porcelain") if name else None
    return {"commit": name or None, "clean": clean}
