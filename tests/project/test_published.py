"""What git holds of the published run and of other machines: it is of the same bytes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bnblind.review import runs
from tests.conftest import ROOT


def folder_hash(record: dict[str, Any], folder: str) -> str:
    """The hash that DVC gives a folder: of a list of its files and their md5."""
    listed = [
        {"md5": entry["md5"], "relpath": path.removeprefix(f"{folder}/")}
        for path, entry in record.items()
        if path.startswith(f"{folder}/")
    ]
    text = json.dumps(sorted(listed, key=lambda entry: entry["relpath"]), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


RECEIPTS = sorted((ROOT / "receipts").glob("*.json"))


@pytest.mark.parametrize("path", RECEIPTS, ids=lambda path: path.stem)
def test_a_collected_receipt_is_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert runs.read_receipt(path)["profile"] == "quick"


def test_the_record_is_of_the_files_that_dvc_published() -> None:
    record = runs.read_record(ROOT / runs.record_of("quick"))
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())
    outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
    for out in outs:
        path = out["path"]
        found = record[path]["md5"] if path in record else folder_hash(record, path)
        assert found == out["md5"], path
    assert all(any(p == o["path"] or p.startswith(f"{o['path']}/") for o in outs) for p in record)


def test_the_published_numbers_are_those_of_the_record() -> None:
    record = runs.read_record(ROOT / runs.record_of("quick"))
    folder = ROOT / runs.numbers_of("quick")
    numbers = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    assert {name for name in record if name.endswith(".csv")} <= {*numbers}
    assert "reports/claims.json" in numbers
    assert json.loads(numbers.pop("settings.json").read_bytes())["profile"]["profile"] == "quick"
    for name, path in numbers.items():
        assert runs.hashes_of(path) == record[name], name
