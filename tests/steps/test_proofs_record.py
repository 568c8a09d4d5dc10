"""When the ledger may say that a theorem is proved: only if the record is of the sources."""

import json
import shutil
from pathlib import Path

import pytest

from bnblind import BadInput
from bnblind.pipeline.proofs_record import RECORD, read_proofs
from tests.conftest import ROOT


@pytest.fixture
def record(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "proofs", tmp_path / "proofs")
    return tmp_path / RECORD


def test_the_published_record_is_of_the_sources(record: Path) -> None:
    proofs = read_proofs(record)
    assert proofs.changed == ()
    assert proofs.standing(["T1", "T4_softmax_head"]) == "proved in Coq"


@pytest.mark.parametrize(
    ("change", "file"),
    [
        (lambda folder: (folder / "Basics.v").open("a").write(" "), "Basics.v"),
        (lambda folder: (folder / "Basics.v").unlink(), "Basics.v"),
        (lambda folder: (folder / "New.v").write_text(""), "New.v"),
        (lambda folder: (folder / "mutations.toml").write_text(""), "mutations.toml"),
        (lambda folder: (folder / "check.py").unlink(), "check.py"),
        (lambda folder: (folder / "tomllib.py").write_text(""), "tomllib.py"),
    ],
)
def test_a_source_that_changed_since_is_named(record: Path, change, file: str) -> None:
    change(record.parent)
    proofs = read_proofs(record)
    assert proofs.changed == (file,)
    assert proofs.standing(["T1"]) == f"not known to be proved: {file} changed since Coq's check"


def test_a_theorem_of_another_name_is_refused(record: Path) -> None:
    with pytest.raises(BadInput, match="unknown theorem 'T9'; allowed: jacobian"):
        read_proofs(record).standing(["T1", "T9"])


@pytest.mark.parametrize(
    ("name", "statement"),
    [("T9", "True"), ("T1", "True"), ("T1", "forall n D eps g y0 x j k, (1")],
)
def test_a_theorem_not_stated_so_is_refused(record: Path, name: str, statement: str) -> None:
    listed = json.loads(record.read_text())
    others = [theorem for theorem in listed["theorems"] if theorem["name"] != name]
    listed["theorems"] = [*others, {"name": name, "statement": statement}]
    record.write_text(json.dumps(listed))
    with pytest.raises(BadInput, match=f"Statements.v does not state {name} as it is listed"):
        read_proofs(record)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", "is not a record of proofs"),
        ("[]", "is not a record"),
        (json.dumps({"theorems": []}), "sources"),
    ],
)
def test_what_is_no_record_is_refused(record: Path, content: str, found: str) -> None:
    record.write_text(content)
    with pytest.raises(BadInput, match=found):
        read_proofs(record)
    record.unlink()
    with pytest.raises(BadInput, match="there is no record of the proofs"):
        read_proofs(record)
