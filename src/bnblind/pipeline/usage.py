"""What the jobs of each rule used in the runs that are published."""

import json
from collections.abc import Mapping
from os.path import normpath
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


def usage_for(profile: str) -> Usage:
    """What the jobs of a profile can be expected to use: as in its published run, or else as the
    largest of any profile.
    """
    return usage_of(profile) or usage_of(*(folder.name for folder in PUBLISHED.glob("*/")))


def published_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    """Bytes of each file that the profile's published run made; none if there is no such run."""
    record = _published(PUBLISHED / f"{config['profile']}.json")
    return {normpath(f"{config['root']}/{name}"): of["bytes"] for name, of in record.items()}
