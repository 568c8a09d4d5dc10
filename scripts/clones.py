"""Fresh clones of this repository, and what a run leaves in them."""

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, "src")

from bnblind.review.runs import files_below


def fresh_clone(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", ".", path], check=True)
    return path


def commit() -> str:
    """Of this folder, which is what is cloned."""
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def hashes(root: Path) -> dict[str, str]:
    """Path -> sha256 of every file of the run below ``root``."""
    return {name: file["sha256"] for name, file in files_below(root).items()}
