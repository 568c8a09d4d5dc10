"""``bnblind verify``: what it prints, and every reason to exit with 1."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bnblind.__main__ import main
from bnblind.pipeline.configuration.claims_file import read_claims
from bnblind.pipeline.formats.tables import table_bytes
from bnblind.pipeline.ledger import ledger
from bnblind.pipeline.proofs_record import RECORD, read_proofs
from bnblind.review.verify import UNREAD
from tests.conftest import ROOT

PASSING = "data/results/theorems/passing.parquet"
CLAIMS = """
C1:
  claim: BN blocks it.
  required: true
  rows:
    shares:
      theorem: [T1]
      scope: the share that passes
      table: theorems/passing
      where: {}
      largest: passing
      at_most: 1.0e-12
      figure: theorems/passing
C2:
  claim: BN harms.
  required: false
  rows:
    accuracy:
      scope: accuracy
      table: classification
      where: {}
      mean: value
      at_least: 0.5
      figure: classification/final
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with claims, results of the required one only, and the ledger they give."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/claims.yaml").write_text(CLAIMS)
    for name in ("notebooks", "src", "workflow"):  # of what experiments declare
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "proofs", tmp_path / "proofs")
    table = pd.DataFrame({"seed": [30, 31], "passing": [1e-13, 3e-13]})
    (tmp_path / "data/results/theorems").mkdir(parents=True)
    (tmp_path / PASSING).write_bytes(table_bytes(table))
    (tmp_path / "reports").mkdir()
    write_ledger(tmp_path)
    return tmp_path


def write_ledger(run: Path) -> None:
    def read(name: str) -> pd.DataFrame | None:
        path = run / f"data/results/{name}.parquet"
        return pd.read_parquet(path) if path.is_file() else None

    kinds = ["theorems/passing", "classification"]
    claims = read_claims(kinds, run / "config/claims.yaml")
    (run / "reports/claims.json").write_text(
        json.dumps(ledger(claims, read, read_proofs(run / RECORD)))
    )


@pytest.fixture
def verify(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The command, called in the folder: its exit code, and all it prints."""
    monkeypatch.chdir(run)

    def command(*options: str) -> tuple[int, str]:
        try:
            main(["verify", *options])
        except SystemExit as stop:
            return 1, capsys.readouterr().out + str(stop)
        return 0, capsys.readouterr().out

    return command


def test_a_ledger_that_stands(run: Path, verify) -> None:
    code, printed = verify()
    assert code == 0, printed
    lines = printed.splitlines()
    assert lines[1].split()[:3] == ["C1", "reproduced", "yes"]
    assert lines[2].split()[:4] == ["C2", "without", "a", "number"]
    assert lines[1].endswith("BN blocks it.")
    assert "C1.shares" not in printed
    code, printed = verify("--all")
    assert code == 0
    assert re.search(r"C1.shares +reproduced +yes", printed)
    assert "3e-13 (1e-13 to 3e-13)" in printed
    assert "the share that passes (T1: proved in Coq)" in printed


def test_from_elsewhere_with_its_root(run: Path, verify) -> None:
    (run / "runs/small").mkdir(parents=True)
    for folder in ("data", "reports"):
        (run / folder).rename(run / "runs/small" / folder)
    assert verify()[0] == 1
    assert verify("--root", "runs/small")[0] == 0


@pytest.mark.starts_interpreter
def test_a_reader_that_leaves(run: Path) -> None:
    """`bnblind verify | head` is no error to report."""
    end, pipe = os.pipe()
    os.close(end)
    command = [sys.executable, "-m", "bnblind", "verify", "--root", str(run)]
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}  # as it is usually
    left = subprocess.run(command, env=buffered, stdout=pipe, stderr=subprocess.PIPE, text=True)
    os.close(pipe)
    assert (left.returncode, left.stderr) == (1, "")


def test_a_required_claim_that_fails(run: Path, verify) -> None:
    table = pd.DataFrame({"seed": [30], "passing": [0.5]})
    (run / PASSING).write_bytes(table_bytes(table))
    write_ledger(run)
    code, printed = verify()
    assert code == 1
    assert "C1.shares is required and is not reproduced" in printed


def test_a_row_of_a_theorem_must_hold_even_if_another_does(run: Path, verify) -> None:
    one, other = CLAIMS[CLAIMS.index("    shares:") : CLAIMS.index("C2:")], "    more:"
    claims = CLAIMS.replace(one, one + one.replace("    shares:", other).replace("e-12", "e-14"))
    (run / "config/claims.yaml").write_text(claims)
    write_ledger(run)
    code, printed = verify()
    assert code == 1
    assert "C1     partly" in printed
    assert "error: C1.more is required and is not reproduced" in printed


def test_a_required_claim_that_was_not_run(run: Path, verify) -> None:
    (run / "data/results/theorems/passing.parquet").unlink()
    write_ledger(run)
    code, printed = verify()
    assert code == 1
    assert "C1.shares is required and is without a number" in printed


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            lambda run: (run / PASSING).write_bytes(
                table_bytes(pd.DataFrame({"seed": [30], "passing": [2e-13]}))
            ),
            "C1.shares: the ledger says value 3e-13, found now 2e-13",
        ),
        (
            lambda run: (run / "data/results/theorems/passing.parquet").unlink(),
            "C1.shares: the ledger says verdict reproduced, found now without a number",
        ),
        (
            lambda run: (run / "data/results/theorems/passing.parquet").write_bytes(b"PAR1"),
            "passing.parquet was altered or cut off",
        ),
        (
            lambda run: (run / "config/claims.yaml").write_text(
                CLAIMS.replace("1.0e-12", "1.0e-14")
            ),
            "C1.shares: the ledger says predicate largest <= 1e-12, found now largest <=",
        ),
        (
            lambda run: (run / "config/claims.yaml").write_text(CLAIMS[: CLAIMS.index("C2")]),
            "C2.accuracy: not in config/claims.yaml",
        ),
        (
            lambda run: (run / "proofs/Terms.v").write_text("Axiom cheat : False."),
            "C1.shares: the ledger says proof proved in Coq, found now not known to be proved: T",
        ),
        (
            lambda run: shutil.rmtree(run / "data"),
            "error: there are no results data/results; `make reproduce` makes them",
        ),
        (lambda run: (run / "proofs/record.json").unlink(), "there is no record of the proofs"),
        (lambda run: (run / "reports/claims.json").unlink(), "there is no ledger reports/claims"),
        (lambda run: (run / "reports/claims.json").write_text("[1]"), "is not a ledger"),
        (
            lambda run: (run / "reports/claims.json").write_text("[{}]"),
            "a row without artifact, claim",
        ),
        (lambda run: (run / "config/claims.yaml").unlink(), "call it in the project's folder"),
    ],
)
def test_what_no_longer_matches(run: Path, verify, change, found: str) -> None:
    change(run)
    code, printed = verify()
    assert code == 1
    assert found in printed
    assert "Traceback" not in printed


def test_a_row_of_a_profile_with_a_page_of_its_own_is_read_from_beside(run: Path, verify) -> None:
    """The tables of both say which profile computed them, or lie where that is said."""
    folder = run / "data/results"
    (folder / "images/theorems").mkdir(parents=True)
    (folder / "images/theorems/passing.parquet").write_bytes((run / PASSING).read_bytes())
    (run / PASSING).unlink()

    def read(name: str) -> pd.DataFrame | None:
        path = folder / f"images/{name}.parquet"
        return pd.read_parquet(path).assign(profile="images") if path.is_file() else None

    claims = read_claims(["theorems/passing", "classification"], run / "config/claims.yaml")
    rows = ledger(claims, read, read_proofs(run / RECORD), ["images"])
    (run / "reports/claims.json").write_text(json.dumps(rows))
    (row,) = (row for row in rows if row["id"] == "C1.shares")
    assert row["artifact"] == "data/results/images/theorems/passing.parquet"
    assert row["profiles"] == ["images"]
    code, printed = verify()
    assert code == 0, printed
    (folder / "images/theorems/passing.parquet").unlink()
    code, printed = verify()
    assert code == 1
    assert "there is no data/results/images/theorems/passing.parquet" in printed


def test_every_key_that_is_read_is_asked_for(run: Path, verify) -> None:
    """Or a ledger of another version would end in a traceback."""
    rows = json.loads((run / "reports/claims.json").read_text())
    for key in {*rows[0]} - UNREAD:
        short = [{k: v for k, v in row.items() if k != key} for row in rows]
        (run / "reports/claims.json").write_text(json.dumps(short))
        code, printed = verify("--all")
        assert code == 1
        assert f"a row without {key}" in printed or f"the ledger says {key} None" in printed


def test_a_table_that_is_gone_is_said_once(run: Path, verify) -> None:
    (run / "data/results/theorems/passing.parquet").unlink()
    _, printed = verify()
    assert printed.partition("error: ")[2].splitlines() == [
        "there is no data/results/theorems/passing.parquet; `make reproduce` makes it",
        "  C1.shares: the ledger says verdict reproduced, found now without a number",
    ]
