"""Compare this run's outputs with the published ones, by the hashes in ``dvc.lock``.

    python -m bnblind.review.published

Published is the ``dvc.lock`` of the last commit; this run's is the one in the working tree,
which ``dvc repro`` has brought up to date. Exits 1 if an output differs.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bnblind.errors import BadInput

LOCK = "dvc.lock"


def hashes(lock: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Path -> hash of every ``outs`` or ``deps`` entry of a parsed ``dvc.lock``."""
    return {
        entry["path"]: entry.get("md5", "")
        for stage in lock.get("stages", {}).values()
        for entry in stage.get(kind, [])
    }


def differences(published: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """One line for each path whose hash differs or that only one side has."""
    return [
        f"{path}: published {published.get(path, 'none')}, this run {found.get(path, 'none')}"
        for path in sorted({*published, *found})
        if published.get(path) != found.get(path)
    ]


def compare(published: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Lines on differing outputs, and paths of differing code, configuration and inputs."""
    outs, deps = (
        differences(hashes(published, kind), hashes(found, kind)) for kind in ("outs", "deps")
    )
    made = {*hashes(published, "outs"), *hashes(found, "outs")}
    changed = (line.partition(": ")[0] for line in deps)
    return outs, [path for path in changed if path not in made]


def published_lock() -> dict[str, Any]:
    """The committed ``dvc.lock``.

    Raises:
        BadInput: the last commit holds none.
    """
    shown = subprocess.run(["git", "show", f"HEAD:{LOCK}"], capture_output=True, text=True)
    if shown.returncode:
        raise BadInput(f"nothing to compare with: {shown.stderr.strip()}")
    return dict(yaml.safe_load(shown.stdout))


def main() -> None:
    try:
        found = yaml.safe_load(Path(LOCK).read_text(encoding="utf-8"))
        outs, changed = compare(published_lock(), found)
    except (BadInput, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    if changed:
        print(f"changed since the published run: {', '.join(changed)}")
    if outs:
        raise SystemExit(
            "different from the published hashes:\n  "
            + "\n  ".join(outs)
            + "\n`dvc diff` names the files; one that was altered by hand: delete it and run again"
        )
    print(f"identical to the published hashes: {', '.join(sorted(hashes(found, 'outs')))}")


if __name__ == "__main__":
    main()
