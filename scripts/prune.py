"""Remove from the given folders the files that no job of the present configuration makes.

    python scripts/prune.py FOLDER ...

Shrinking a grid would otherwise leave stale results inside a folder that DVC tracks whole.
What git tracks stays; where git cannot say, all stays.
"""

import subprocess
import sys
from pathlib import Path


def lines_of(*command: str) -> set[str]:
    """The standard output of a command, as a set of lines."""
    return set(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    )


def stale_files(folders: list[str]) -> list[Path]:
    """Files below ``folders`` that neither the workflow makes nor git tracks."""
    unclaimed = lines_of("snakemake", "--list-untracked", "--quiet", "all", "--", "all", "proofs")
    candidates = unclaimed - lines_of("git", "ls-files")
    return sorted(
        path
        for path in map(Path, candidates)
        if any(path.is_relative_to(folder) for folder in folders)
    )


def main(folders: list[str]) -> None:
    try:
        stale = stale_files(folders)
    except FileNotFoundError as error:
        print(f"nothing is removed without {error.filename}, which knows what is of no run")
        return
    for path in stale:
        path.unlink()
        print(f"removed {path}: no job of the present configuration makes it")


if __name__ == "__main__":
    main(sys.argv[1:])
