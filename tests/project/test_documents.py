"""The parts of the documents that are made of declarations and schemas, by scripts/documents.py."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.findings import FINDINGS, read_findings, slots
from bnblind.pipeline.ledger import NO_NUMBER, PARTLY, REFUTED, REPRODUCED, UNDECIDED
from tests.conftest import ROOT
from tests.helpers.scripts import import_script

FILES = (
    *("config/README.md", "dvc.yaml", "docs/flows.md", "docs/machines.md", "docs/running.md"),
    "docs/scale.md",
)


@pytest.fixture(scope="module")
def documents() -> ModuleType:
    return import_script("documents")


Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, documents: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the script in a copy of the documents that it has just made."""
    for name in ("notebooks", "src", "workflow", "receipts", "published"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("config", "docs"):
        (tmp_path / name).mkdir()
    for name in (*FILES, "config/datasets.yaml", "config/config.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)

    def call(*options: str) -> None:
        monkeypatch.setattr(sys, "argv", ["documents.py", *options])
        documents.main()

    call()
    return call


@pytest.mark.parametrize(
    ("file", "part", "old", "new"),
    [
        ("docs/running.md", "experiments", "| What passes each norm |", "| What passes |"),
        ("docs/running.md", "experiments", "`purity/COMPARISON`", "`purity/x`"),
        ("config/README.md", "profile", "| `numerics` |", "| `numeric` |"),
        ("config/README.md", "profile", "integer >= 0 | seed of the split", "integer | seed of"),
        ("config/README.md", "claims", "the mean over the seeds", "the mean"),
        ("config/README.md", "datasets", "| `files.FILE.sha256` |", "| `files.FILE.sha` |"),
        ("docs/flows.md", "flows", "| 9 and 8 | random |", "| 9 and 8 | label-pure |"),
        ("dvc.yaml", "metrics", "  - data/results/rates.json\n", ""),
    ],
)
def test_an_altered_table_is_noticed_and_made_again(
    file: str, part: str, old: str, new: str, run: Run
) -> None:
    made = {name: Path(name).read_text() for name in FILES}
    run("--check")
    assert old in made[file]
    altered = made[file].replace(old, new, 1)
    Path(file).write_text(altered)
    with pytest.raises(SystemExit) as caught:
        run("--check")
    assert str(caught.value).startswith(f"error: {file} does not say what it should of its {part}")
    assert Path(file).read_text() == altered
    run()
    assert {name: Path(name).read_text() for name in FILES} == made


def test_what_is_written_by_hand_is_left_alone(run: Run) -> None:
    for name in FILES:
        Path(name).write_text(f"# by hand\n{Path(name).read_text()}# to the end\n")
    before = {name: Path(name).read_text() for name in FILES}
    run("--check")
    run()
    assert {name: Path(name).read_text() for name in FILES} == before


def test_a_document_without_its_markers_is_refused(run: Run) -> None:
    text = Path("config/README.md").read_text()
    Path("config/README.md").write_text(text.replace("<!-- end of claims -->\n", ""))
    with pytest.raises(SystemExit, match=r"there are no markers .*claims: made by .*end of claims"):
        run("--check")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (keys.integer(""), "integer >= 1"),
        (keys.integer("", 0, 9), "integer >= 0 and <= 9"),
        (keys.several(keys.integer("", 2)), "integers >= 2"),
        (keys.integer("", 8, multipleOf=8), "multiple of 8"),
        (keys.several(keys.integer("", 8, multipleOf=8)), "multiples of 8"),
        (keys.number(""), "number"),
        (keys.number("", minimum=0), "number >= 0"),
        (keys.positive(""), "number > 0"),
        (keys.positive("", maximum=1), "number > 0 and <= 1"),
        (keys.positive("", exclusiveMaximum=1), "number in (0, 1)"),
        (keys.number("", minimum=0, exclusiveMaximum=1), "number in [0, 1)"),
        (keys.name("norm", ""), "name"),
        (keys.names("norm", ""), "names"),
        (keys.pair(""), "2 integers >= 0"),
        (keys.pair("", minimum=0, exclusiveMaximum=1), "2 numbers in [0, 1)"),
        (keys.several(keys.pair("")), "lists of 2 integers >= 0"),
        ({"enum": ["x86-64-v3", "fast"]}, "`x86-64-v3`, `fast`"),
        ({"type": "string"}, "text"),
        ({"type": "array", "items": {"type": "string"}}, "texts"),
        ({"type": "boolean"}, "boolean"),
        ({"$ref": "#/$defs/share"}, "share"),
    ],
)
def test_a_keys_type_in_words(schema: dict[str, Any], words: str, documents: ModuleType) -> None:
    assert documents.type_in_words(schema) == words


def test_every_key_is_in_the_table(documents: ModuleType) -> None:
    """Those that lie in mappings with their whole name."""
    inner = keys.mapping("", {"a": keys.number("of a"), "b": keys.names("norm", "of b")})
    schema = keys.mapping("", {"x": inner, "y": keys.grids("", {"z": keys.integer("of z")})})
    assert [*documents.keys_of(schema)] == [
        ["`x.a`", "number", "of a"],
        ["`x.b`", "names", "of b"],
        ["`y.GRID.z`", "integer >= 1", "of z"],
    ]


def test_no_number_of_a_finding_is_typed_by_hand() -> None:
    """But for names of digits, powers and settings, which are told."""
    found = read_findings(ROOT / FINDINGS)
    assert len(found) >= 15
    for finding in found:
        words = re.sub(r"\{[^}]*\}|`[^`]*`", "", f"{finding['text']} {finding['title']}")
        numbers = {*re.findall(r"[0-9]+(?:\.[0-9]+)?", re.sub(r"\b[CT][0-9]+\b", "", words))}
        assert numbers <= {*finding.get("constants", [])}, finding["title"]
        known = {*finding.get("numbers", {})}
        assert slots(finding) - {"found", "theorems", "theorems_held"} == known, finding["title"]


def test_no_result_is_typed_into_captions_and_notebooks() -> None:
    """A decimal number there is a threshold, chance, a setting or a purity."""
    texts = {
        f"{name}'s page": [*page.captions.values(), page.sentence]
        for name, experiment in experiments().items()
        if (page := experiment.page)
    }
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        texts[path.name] = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    assert len(texts) >= 20
    for place, own in texts.items():
        found = {*re.findall(r"(?<![\w.])[0-9]*\.[0-9]+", " ".join(own))}
        assert found <= {"0.01", "0.5", "0.6", "0.98"}, place


def test_the_ledger_tells_what_is_undecided_and_what_has_no_number(
    documents: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verdicts = [REPRODUCED, REFUTED, UNDECIDED, UNDECIDED, NO_NUMBER]
    rows = [{"id": f"C1.r{n}", "claim": "c", "verdict": own} for n, own in enumerate(verdicts)]
    Path("reports").mkdir()
    whole = {"id": "C1", "claim": "c", "verdict": PARTLY}
    Path("reports/claims.json").write_text(json.dumps([whole, *rows]))
    assert "| **partly** | 1/4, 2 undecided, 1 without a number |" in documents.verdicts()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 900
