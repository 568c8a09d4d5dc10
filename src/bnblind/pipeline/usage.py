"""What the jobs of each rule used in the runs that are published."""

import json
from collections.abc import Iterable, Mapping
from os.path import relpath
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput

PUBLISHED = Path("published")

Usage = Mapping[str, Mapping[str, float]]
"""Rule -> ``mean_seconds`` and ``longest_seconds`` of CPU of its jobs, ``peak_mb`` of memory of the
largest.
"""


def _published(file: Path) -> dict[str, Any]:
    """What a published file holds, by name; empty if there is none; BadInput if it is cut off."""
    try:
        return dict(json.loads(file.read_bytes())) if file.is_file() else {}
    except (ValueError, TypeError) as error:
        raise BadInput(f"{file}: {error}; `git restore {file}` brings it back") from error


def usage_of(*profiles: str) -> Usage:
    """In the published runs of these profiles together; those that have none add nothing."""
    jobs: dict[str, list[Mapping[str, float]]] = {}
    for profile in profiles:
        for job, used in _published(PUBLISHED / profile / "jobs.json").items():
            jobs.setdefault(job.partition("/")[0], []).append(used)
    return {
        rule: {
            "mean_seconds": sum(used["cpu_seconds"] for used in own) / len(own),
            "longest_seconds": max(used["cpu_seconds"] for used in own),
            "peak_mb": max(used["peak_mb"] for used in own),
        }
        for rule, own in jobs.items()
    }


def runs_for(config: Mapping[str, Any]) -> list[str]:
    """The published runs that tell best what a profile will use: its own; or else those with one of
    its data sets; or else all.
    """
    known = sorted(folder.name for folder in PUBLISHED.glob("*/"))
    if config["profile"] in known:
        return [config["profile"]]
    data = {f"prepare_data/{name}" for name in config["data"]}
    return [run for run in known if data & {*_published(PUBLISHED / run / "jobs.json")}] or known


def usage_for(config: Mapping[str, Any]) -> Usage:
    """What the jobs of a profile can be expected to use, as in the runs that tell it best."""
    return usage_of(*runs_for(config))


def sizes_for(config: Mapping[str, Any], paths: Iterable[str]) -> dict[str, int]:
    """Bytes that each of a profile's files can be expected to have: as in its own published run, or
    else as the largest file of its place in the runs that tell it best; 0 if there is none.
    """

    def place(name: str) -> tuple[str, ...]:
        *folders, file = name.split("/")
        return *folders[:3], Path(file).suffix

    records = {run: _published(PUBLISHED / f"{run}.json") for run in runs_for(config)}
    largest: dict[tuple[str, ...], int] = {}
    for record in records.values():
        for name, of in record.items():
            largest[place(name)] = max(of["bytes"], largest.get(place(name), 0))
    own = records.get(config["profile"], {})
    names = {path: relpath(path, config["root"]) for path in paths}
    return {
        path: own[name]["bytes"] if name in own else largest.get(place(name), 0)
        for path, name in names.items()
    }
