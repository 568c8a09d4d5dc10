"""The receipt: nothing is called identical unless its bytes were read."""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bnblind import BadInput
from bnblind.pipeline.configuration import schema as schema_file
from bnblind.pipeline.formats.ledger import KEYS
from bnblind.pipeline.formats.tables import table_bytes
from bnblind.pipeline.ledger import PARTLY, VERDICTS
from bnblind.review import machine, receipt, runs
from bnblind.review.comparison import ABSOLUTE, RELATIVE
from tests.conftest import ROOT

SHARES = pd.DataFrame({"norm": ["bn", "ln"], "seed": [30, 30], "passing": [0.0, 0.25]})
RUNS = pd.DataFrame({"norm": ["bn"], "value": [0.5]})
EXACT, TRAINED = "data/results/theorems/passing.parquet", "data/results/classification.parquet"
CSV = "reports/figures/theorems/passing.csv"


def row(name: str, **changes: Any) -> dict[str, Any]:
    found = {"verdict": "reproduced", "value": 0.5, "interval": [0.4, 0.6]}
    return dict.fromkeys(KEYS) | {"id": name} | found | changes


def ledger(**changes: Any) -> bytes:
    """Of a claim and its row, which ``changes`` are of."""
    rows = [row("C1", value=None, interval=None), row("C1.a", **changes)]
    return json.dumps(rows).encode()


FILES = {
    "data/raw/digits/digits.csv": b"1,2",
    "data/models/classification/a/bn.safetensors": b"\x00\x01",
    EXACT: table_bytes(SHARES),
    TRAINED: table_bytes(RUNS),
    CSV: SHARES.to_csv(index=False).encode(),
    "reports/figures/theorems/passing.svg": b"<svg>",
    "reports/index.html": b"<p>",
    "reports/claims.json": ledger(),
}
QUICK = Path("config/config.yaml")


def call(*, record: bool = False, against: Path | None = None, configfile: Path = QUICK) -> None:
    receipt.run(argparse.Namespace(record=record, against=against, configfile=configfile))


def write(root: Path, name: str, content: bytes) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)


def project(folder: Path) -> None:
    """What the command needs of the project beside a run."""
    for name in ("config", "workflow", "src", "notebooks", "proofs", "receipts"):
        (folder / name).symlink_to(ROOT / name)


def with_shown(folder: Path) -> None:
    """What the profiles have published that the default one shows."""
    (folder / "published").mkdir()
    for profile in schema_file.read_yaml(ROOT / QUICK)["shows"]:
        for name in (profile, f"{profile}.json"):
            (folder / "published" / name).symlink_to(ROOT / "published" / name)


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with its published record, and what may lie beside a run."""
    monkeypatch.chdir(tmp_path)
    project(tmp_path)
    with_shown(tmp_path)
    beside = {"data/README.md": b"x", "data/results/proofs.json": b"{}"}
    for name, content in {**FILES, **beside}.items():
        write(tmp_path, name, content)
    call(record=True)
    return tmp_path


def log(folder: Path, numerics: str) -> None:
    used = {"numerics": numerics, "cpu_seconds": 1.5, "startup_seconds": 1.0, "peak_mb": 200.0}
    write(folder, "logs/theorems.log", f"usage: {json.dumps(used)}\n".encode())


def written(root: str = ".") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(root, "reports/receipt.json").read_text())
    return found


def failure() -> list[str]:
    """The lines of the error with which the receipt exits."""
    with pytest.raises(SystemExit) as caught:
        call()
    return str(caught.value).splitlines()


def test_the_published_run_is_identical_and_says_so(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log(finished, "x86-64-v3")
    capsys.readouterr()
    call()
    number = len(FILES)
    assert capsys.readouterr().out == (
        "without git or its history the receipt names no commit\n"
        f"C1: reproduced\nclaims: 1 reproduced\n"
        f"{number} of {number} files identical to the published record\n"
        "report: reports/index.html, receipt: reports/receipt.html\n"
    )
    found = written()
    assert {name: file["verdict"] for name, file in found["files"].items()} == dict.fromkeys(
        sorted(FILES), "identical"
    )
    assert found["machine"]["torch"]
    assert found["jobs"]["theorems"]["cpu_seconds"] == 1.5
    assert found["origin"] == "computed here (logs of jobs: 1)"
    assert found["numerics"] == ["x86-64-v3"]
    call()  # the receipt itself is no file of the run


def test_the_page_says_what_the_receipt_says(finished: Path) -> None:
    log(finished, "x86-64-v3")
    write(finished, CSV, SHARES.assign(passing=[0.0, 0.3]).to_csv(index=False).encode())
    lines = failure()
    page = (finished / "reports/receipt.html").read_text()
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert lines[1].strip() in text
    assert "computed here (logs of jobs: 1)" in text
    assert "unknown: no git history here" in text
    assert text.count("identical") >= len(FILES) - 1
    assert hashlib.sha256(FILES[EXACT]).hexdigest()[:16] in text


@pytest.mark.parametrize(
    ("file", "old", "new", "line"),
    [
        ("config.yaml", "batch_sizes: [8, 64]", "batch_sizes: [8]", "theorems of the profile"),
        ("claims.yaml", "C1:\n", "C0:\n", "C1 of the claims"),
        ("datasets.yaml", "classes: 10", "classes: 11", "digits of the data sets"),
    ],
)
def test_files_of_another_configuration_are_not_the_published_run(
    file: str, old: str, new: str, line: str, finished: Path
) -> None:
    """Every byte is as published, and nothing was computed with what is configured now."""
    (finished / "config").unlink()
    shutil.copytree(ROOT / "config", finished / "config")
    text = (finished / "config" / file).read_text()
    assert old in text
    (finished / "config" / file).write_text(text.replace(old, new, 1))
    assert f"  not as published: {line}" in failure()


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
    lines = failure()
    assert lines[0] == "error: not the run of the published record"
    assert lines[1].startswith(f"  different: {name}")
    assert len(lines) == 2
    assert f"{len(FILES) - 1} of {len(FILES)} files identical" in capsys.readouterr().out


def test_a_file_that_is_gone_and_one_that_is_extra_are_named(finished: Path) -> None:
    (finished / "reports/index.html").unlink()
    (finished / "data/models/classification/a/ln.safetensors").write_bytes(b"")
    (finished / "data/models/README.md").write_bytes(b"")
    assert sorted(failure()[1:]) == [
        "  extra: data/models/README.md",
        "  extra: data/models/classification/a/ln.safetensors",
        "  missing: reports/index.html",
    ]


@pytest.mark.parametrize("off", [0.25 * RELATIVE / 2, 0.25 * RELATIVE * 2, 0.1])
@pytest.mark.parametrize(
    ("name", "content"),
    [(EXACT, table_bytes), (CSV, lambda table: table.to_csv(index=False).encode())],
)
def test_of_a_different_table_the_cells_beyond_the_tolerance_are_named(
    name: str, content: Callable[[pd.DataFrame], bytes], off: float, finished: Path
) -> None:
    """Also what is within the tolerance is not the published run."""
    write(finished, name, content(SHARES.assign(passing=[0.0, 0.25 + off])))
    line = failure()[1]
    if off < 0.25 * RELATIVE:
        assert line == f"  within tolerance: {name} (0 of 6 cells)"
    else:
        assert line == (
            f"  different: {name} "
            f"(1 of 6 cells, first row 1, passing: {0.25 + off} instead of 0.25)"
        )
    cells = written()["files"][name]["cells"]
    assert cells["of"] == 6
    assert len(cells["examples"]) == cells["cells"]


def test_what_rounding_leaves_of_a_zero_is_within_tolerance(finished: Path) -> None:
    write(finished, EXACT, table_bytes(SHARES.assign(passing=[ABSOLUTE / 2, 0.25])))
    assert failure()[1].startswith(f"  within tolerance: {EXACT}")
    write(finished, EXACT, table_bytes(SHARES.assign(passing=[ABSOLUTE * 2, 0.25])))
    assert failure()[1].startswith(f"  different: {EXACT}")


def test_a_table_of_another_shape_says_so(finished: Path) -> None:
    write(finished, EXACT, table_bytes(SHARES.head(1)))
    assert "1 rows of norm, seed, passing instead of 2 rows of" in failure()[1]


def test_pictures_are_never_within_tolerance(finished: Path) -> None:
    write(finished, "reports/figures/theorems/passing.svg", b"<svg >")
    assert failure()[1] == "  different: reports/figures/theorems/passing.svg"


FAST = {
    "trained bits": ({TRAINED: table_bytes(RUNS.assign(value=0.4))}, []),
    "a picture": ({"reports/figures/theorems/passing.svg": b"<svg >"}, []),
    "an interval that meets": ({"reports/claims.json": ledger(interval=[0.6, 0.7])}, []),
    "an interval apart": (
        {"reports/claims.json": ledger(interval=[0.61, 0.7])},
        ["its interval does not meet the other one: C1.a"],
    ),
    "no number": (
        {"reports/claims.json": ledger(interval=None, value=None)},
        ["its interval does not meet the other one: C1.a"],
    ),
    "an exact table within": (
        {EXACT: table_bytes(SHARES.assign(passing=[1e-16, 0.25]))},
        [],
    ),
    "an exact table beyond": (
        {EXACT: table_bytes(SHARES.assign(passing=[1e-3, 0.25]))},
        [f"different: {EXACT} (1 of 6 cells, first row 0, passing: 0.001 instead of 0.0)"],
    ),
}


@pytest.fixture
def honest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is what the tables say; those here are no real ones."""
    monkeypatch.setattr("bnblind.review.verify.ledger_problems", lambda root: [])


@pytest.mark.parametrize("numerics", ["fast", "x86-64-v2"])
@pytest.mark.parametrize("case", FAST)
def test_under_other_numerics_than_the_records_numbers_decide(
    case: str, numerics: str, finished: Path, honest: None
) -> None:
    """Under the same ones each of these is a difference."""
    changed, lines = FAST[case]
    for name, content in changed.items():
        write(finished, name, content)
    log(finished, numerics)
    if lines:
        assert failure()[1:] == [f"  {line}" for line in lines]
    else:
        call()
    log(finished, "x86-64-v3")
    assert len(failure()) > 1


def test_a_job_under_other_numerics_beside_the_others_loosens_nothing(
    finished: Path, honest: None
) -> None:
    write(finished, TRAINED, table_bytes(RUNS.assign(value=0.4)))
    log(finished, "fast")
    call()
    used = {"numerics": "x86-64-v3", "cpu_seconds": 1.5, "startup_seconds": 1.0, "peak_mb": 200.0}
    write(finished, "logs/other.log", f"usage: {json.dumps(used)}\n".encode())
    assert failure()[1].startswith(f"  different: {TRAINED}")


def test_under_other_numerics_too_a_raw_file_is_identical_and_the_ledger_what_the_tables_say(
    finished: Path,
) -> None:
    log(finished, "fast")
    for name in (EXACT, TRAINED):  # no real tables
        (finished / name).unlink()
    raw = "data/raw/digits/digits.csv.gz"
    write(finished, raw, b"1,2")
    call(record=True)
    assert "  C1.a: not in config/claims.yaml" in failure()
    write(finished, raw, b"1,3")
    assert failure()[1:] == [f"  different: {raw}"]


def test_numerics_are_no_setting_that_was_published_otherwise(finished: Path, honest: None) -> None:
    (finished / "config").unlink()
    shutil.copytree(ROOT / "config", finished / "config")
    file = finished / QUICK
    file.write_text(file.read_text().replace("numerics: x86-64-v3", "numerics: fast"))
    assert "numerics: fast" in file.read_text()
    log(finished, "fast")
    call()
    assert written()["numerics"] == ["fast"]


def test_under_fast_numerics_a_missing_file_is_missing(finished: Path, honest: None) -> None:
    log(finished, "fast")
    (finished / TRAINED).unlink()
    assert failure()[1:] == [f"  missing: {TRAINED}"]


def test_a_verdict_that_flips_is_named(
    finished: Path, honest: None, capsys: pytest.CaptureFixture[str]
) -> None:
    log(finished, "fast")
    write(finished, "reports/claims.json", ledger(verdict="not reproduced", interval=[0.5, 0.7]))
    call()
    assert "C1.a flips: reproduced there, not reproduced here" in capsys.readouterr().out
    assert written()["flips"] == {"C1.a": ["reproduced", "not reproduced"]}


def test_two_runs_are_compared_by_folder_and_by_receipt(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path_factory.mktemp("other")
    for name, content in FILES.items():
        write(other, name, content)
    call(against=other)
    assert f"identical to {other}" in capsys.readouterr().out
    write(finished, EXACT, table_bytes(SHARES.assign(passing=[0.5, 0.25])))
    with pytest.raises(SystemExit, match=rf"not the run of {other}\n  different: {EXACT} \(1 of 6"):
        call(against=other)
    earlier = other / "receipt.json"
    earlier.write_bytes((finished / "reports/receipt.json").read_bytes())
    call(against=earlier)
    write(finished, EXACT, FILES[EXACT])
    with pytest.raises(SystemExit, match=f"not the run of {earlier}\n  different: {EXACT}$"):
        call(against=earlier)


def test_a_folder_without_a_run_is_nothing_to_be_compared_with(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(BadInput, match="holds no file of a run"):
        call(against=tmp_path_factory.mktemp("empty"))


def test_files_that_are_newer_than_all_logs_are_not_called_computed(finished: Path) -> None:
    log(finished, "x86-64-v3")
    later = time.time() + 100
    os.utime(finished / EXACT, (later, later))
    call()
    expected = (
        "computed here (logs of jobs: 1); then data files written or touched after all of that: 1"
    )
    assert written()["origin"] == expected


def test_a_damaged_history_is_not_called_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ["init", "--quiet"],
        ["-c", "user.name=T", "-c", "user.email=t@t", "commit", "--allow-empty", "-qm", "x"],
    ):
        subprocess.run(["git", *words], check=True)
    assert machine.commit()["clean"] is True
    (tmp_path / ".git/index").write_bytes(b"junk")
    assert machine.commit()["clean"] is None


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "No such file"),
        ("{", "is not a receipt"),
        ('{"files": 1}', "is not a receipt"),
        ("[" * 100000, "is not a receipt"),
    ],
)
def test_what_is_no_receipt_is_refused(content: str | None, found: str, finished: Path) -> None:
    path = finished / "other.json"
    if content:
        path.write_text(content)
    with pytest.raises(BadInput, match=f"other.json.*{found}"):
        call(against=path)


def test_of_a_profile_without_a_record_what_it_would_make_is_missing(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(finished, "runs/smoke/data/raw/x", b"1")
    with pytest.raises(SystemExit, match=r"error: not a whole run\n  missing: runs|data"):
        call(configfile=Path("config/smoke.yaml"))
    files = written("runs/smoke")["files"]
    assert files["data/raw/x"]["verdict"] == "not compared"
    assert files["reports/index.html"] == {"sha256": None, "verdict": "missing"}
    printed = capsys.readouterr().out
    assert "1 files; the profile smoke has no record" in printed
    assert "identical" not in printed
    assert "identical" not in (finished / "runs/smoke/reports/receipt.html").read_text()


def test_in_a_bare_clone_every_published_file_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path)
    (tmp_path / "published").symlink_to(ROOT / "published")
    record = runs.read_record(ROOT / runs.record_of("quick"))
    monkeypatch.chdir(tmp_path)
    assert len([line for line in failure() if "  missing: " in line]) == len(record) > 200
    printed = capsys.readouterr().out
    assert f"0 of {len(record)} files identical" in printed
    assert written()["origin"] == "unknown: no job left a log"


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
    record = finished / "published/quick.json"
    record.unlink()
    if content is not None:
        record.write_text(content)
    with pytest.raises(BadInput, match=found):
        call()


def test_what_the_receipt_writes_fits_the_schema(finished: Path) -> None:
    log(finished, "fast")
    write(finished, EXACT, table_bytes(SHARES.assign(passing=[0.5, 0.25])))
    (finished / TRAINED).unlink()
    assert len(failure()) > 1
    schema = schema_file.read_yaml(ROOT / "receipts/schema.yaml")
    assert schema_file.violations(written(), schema) == []
    changed = written() | {"numerics": ["guessed"], "more": 1}
    assert len(schema_file.violations(changed, schema)) == 2
    allowed = schema["properties"]["rows"]["additionalProperties"]["properties"]["verdict"]["enum"]
    assert {*allowed} == {PARTLY, *VERDICTS}
