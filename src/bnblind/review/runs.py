"""What can be compared of a run, read from its folder, its receipt or the published record."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.pipeline.configuration.claims_file import CLAIMS
from bnblind.pipeline.configuration.schema import datasets, read_yaml, violations
from bnblind.pipeline.formats.files import json_bytes
from bnblind.pipeline.formats.ledger import read_ledger
from bnblind.pipeline.paths import Paths
from bnblind.pipeline.usage import PUBLISHED
from bnblind.review.machine import jobs_in

RECEIPT_SCHEMA = Path("receipts/schema.yaml")
FOLDERS = ("data", "reports")
NOT_OF_THE_RUN = {
    *("data/README.md", "reports/README.md", "data/results/proofs.json"),
    *("reports/receipt.json", "reports/receipt.html"),
}
"""Files there that no job of a profile makes."""

Hashes = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run.

    Attributes:
        files: path below its root -> sha256.
        rows: id of a row of the ledger -> its value, interval and verdict.
        numerics: how its jobs computed, each way once; empty if that is not known.
        numbers: folder below which its tables and its figures' numbers lie; None if not at hand.
    """

    files: Mapping[str, str]
    rows: Mapping[str, Mapping[str, Any]]
    numerics: tuple[str, ...]
    numbers: Path | None = None


def hashes_of(path: Path) -> Hashes:
    """Size, md5 (what DVC records) and sha256 of a file, read from its bytes."""
    content = path.read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return {"bytes": len(content), "md5": md5, "sha256": hashlib.sha256(content).hexdigest()}


def files_below(root: Path) -> dict[str, Hashes]:
    """Of every file of the run below ``root``: path -> its hashes."""
    files = sorted(file for folder in FOLDERS for file in (root / folder).rglob("*"))
    own = {file.relative_to(root).as_posix(): file for file in files if file.is_file()}
    return {name: hashes_of(file) for name, file in own.items() if name not in NOT_OF_THE_RUN}


def record_of(profile: str) -> Path:
    return PUBLISHED / f"{profile}.json"


def numbers_of(profile: str) -> Path:
    return PUBLISHED / profile


def read_record(path: Path) -> dict[str, Hashes]:
    """Raises BadInput if there is no record, or if it is not one."""
    if not path.is_file():
        raise BadInput(f"there is no published record {path}; call it in the project's folder")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not all(set(entry) == {"bytes", "md5", "sha256"} for entry in record.values()):
            raise ValueError("an entry is not of bytes, md5 and sha256")
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise BadInput(f"{path} is not a published record: {error}") from error
    return dict(record)


def settings(config: Mapping[str, Any]) -> bytes:
    """All that is configured, as JSON: of the profile, the claims and the data sets."""
    others = {"claims": read_yaml(CLAIMS), "data sets": datasets()}
    return json_bytes({"profile": config, **others})


def settings_of(profile: str) -> Path:
    """The file of those with which the published run was made."""
    return numbers_of(profile) / "settings.json"


def read_settings(profile: str) -> dict[str, dict[str, Any]]:
    """With what the published run was made; raises BadInput if that is not at hand."""
    path = settings_of(profile)
    try:
        there = json.loads(path.read_bytes())
        return {name: dict(there[name]) for name in ("profile", "claims", "data sets")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path} does not say what was published: {error!r}") from error


def changed_settings(config: Mapping[str, Any]) -> list[str]:
    """What is configured and is not as it was published, in lines; but for the numerics, of which
    the jobs' logs tell.
    """
    files = read_settings(config["profile"])
    return [
        f"not as published: {key} of the {name}"
        for name, here in json.loads(settings(config)).items()
        for key in dict.fromkeys([*files[name], *here])
        if files[name].get(key) != here.get(key) and key != "numerics"
    ]


def _of(files: Mapping[str, Hashes], numbers: Path, numerics: Iterable[str]) -> Run:
    try:
        ledger: Iterable[Mapping[str, Any]] = read_ledger(Path(Paths(str(numbers)).ledger()))
    except BadInput:  # its bytes say it
        ledger = []
    kept = ("value", "interval", "verdict")
    rows = {row["id"]: {key: row[key] for key in kept} for row in ledger}
    hashes = {name: file["sha256"] for name, file in files.items()}
    return Run(hashes, rows, tuple(sorted({*numerics})), numbers)


def run_below(root: Path) -> Run:
    """The run in that folder; every file is read."""
    jobs = jobs_in(root / "logs").values()
    return _of(files_below(root), root, (job["numerics"] for job in jobs))


def published_run(profile: str) -> Run:
    """Raises BadInput if there is no published record of the profile."""
    numerics = read_settings(profile)["profile"].get("numerics", "")
    return _of(read_record(record_of(profile)), numbers_of(profile), [numerics])


def read_receipt(path: Path) -> dict[str, Any]:
    """Raises BadInput if there is no such file, or it is not a receipt."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; allowed: a receipt or a run's folder") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not a receipt: {error!r}") from error
    if lines := violations(content, read_yaml(RECEIPT_SCHEMA)):
        raise BadInput(f"{path} is not a receipt: " + "\n  ".join(lines))
    return dict(content)


def run_of_receipt(path: Path) -> Run:
    """The run that a receipt is of; raises BadInput as :func:`read_receipt`."""
    receipt = read_receipt(path)
    files = {name: file["sha256"] for name, file in receipt["files"].items() if file["sha256"]}
    return Run(files, receipt["rows"], tuple(receipt["numerics"]))
