"""The receipt: nothing is called identical unless its bytes were read."""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bnblind import BadInput
from bnblind.review import receipt
from bnblind.review.verify import KEYS
from tests.conftest import ROOT

FILES = {
    "data/raw/digits/digits.csv": b"1,2",
    "data/models/classification/a/bn.safetensors": b"\x00\x01",
    "reports/index.html": b"<p>",
    "reports/claims.json": json.dumps(
        [dict.fromkeys(KEYS) | {"id": name, "verdict": "reproduced"} for name in ("C1", "C1.a")]
    ).encode(),
}


def call(*, record: bool = False) -> None:
    receipt.run(argparse.Namespace(record=record))


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with its published record, and what may lie beside a run."""
    monkeypatch.chdir(tmp_path)
    for name, content in {
        **FILES,
        "data/README.md": b"x",
        "data/results/proofs.json": b"{}",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    call(record=True)
    return tmp_path


def test_the_published_run_is_identical_and_says_so(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    call()
    assert capsys.readouterr().out == (
        "C1: reproduced\n4 of 4 files identical to the published record\n"
        "report: reports/index.html, receipt: reports/receipt.json\n"
    )
    written = json.loads((finished / "reports/receipt.json").read_text())
    assert written["files"] == dict.fromkeys(sorted(FILES), "identical")
    assert written["verdicts"] == {"C1": "reproduced"}
    assert written["machine"]["torch"]
    call()  # the receipt itself is no file of the run


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("bit", [0, 7])
def test_one_flipped_bit_is_a_difference(
    name: str, bit: int, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the same size; dvc.lock and modification times are not asked."""
    content = bytes([FILES[name][0] ^ 1 << bit]) + FILES[name][1:]
    assert content != FILES[name]
    assert len(content) == len(FILES[name])
    (finished / name).write_bytes(content)
    with pytest.raises(SystemExit, match=f"^error: not the published run\n  different: {name}$"):
        call()
    assert "3 of 4 files identical" in capsys.readouterr().out


def test_a_file_that_is_gone_and_one_that_is_not_published_are_named(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished / "reports/index.html").unlink()
    (finished / "data/models/classification/a/ln.safetensors").write_bytes(b"")
    (finished / "data/models/README.md").write_bytes(b"")
    with pytest.raises(SystemExit) as caught:
        call()
    assert str(caught.value).splitlines()[1:] == [
        "  missing: reports/index.html",
        "  not published: data/models/README.md",
        "  not published: data/models/classification/a/ln.safetensors",
    ]
    assert "3 of 4 files identical" in capsys.readouterr().out


def test_in_a_bare_clone_every_published_file_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((ROOT / receipt.RECORD).read_text())
    (tmp_path / receipt.RECORD.parent).mkdir()
    (tmp_path / receipt.RECORD).write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        call()
    assert str(caught.value).count("missing: ") == len(record) > 200
    assert f"0 of {len(record)} files identical" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "there is no published record published/quick.json"),
        ("{", "published/quick.json is not a published record: Expecting"),
        ('{"a": {"md5": "1"}}', "an entry is not of bytes, md5 and sha256"),
        ("[1]", "is not a published record: 'list' object has no attribute"),
    ],
)
def test_without_a_record_nothing_is_said_of_the_run(
    content: str | None, found: str, finished: Path
) -> None:
    (finished / receipt.RECORD).unlink()
    if content is not None:
        (finished / receipt.RECORD).write_text(content)
    with pytest.raises(BadInput, match=found):
        call()


def folder_hash(record: dict[str, Any], folder: str) -> str:
    """The hash that DVC gives a folder: of a list of its files and their md5."""
    listed = [
        {"md5": entry["md5"], "relpath": path.removeprefix(f"{folder}/")}
        for path, entry in record.items()
        if path.startswith(f"{folder}/")
    ]
    text = json.dumps(sorted(listed, key=lambda entry: entry["relpath"]), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def test_the_record_is_of_the_files_that_dvc_published() -> None:
    record = receipt.read_record(ROOT / receipt.RECORD)
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())
    outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
    for out in outs:
        path = out["path"]
        found = record[path]["md5"] if path in record else folder_hash(record, path)
        assert found == out["md5"], path
    assert all(any(p == o["path"] or p.startswith(f"{o['path']}/") for o in outs) for p in record)
