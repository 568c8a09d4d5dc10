"""The first page's answer: it agrees with the ledger."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bnblind.pipeline.formats.seal import sealed_json
from bnblind.pipeline.ledger import NOT_RUN, PARTLY, REFUTED, REPRODUCED
from bnblind.pipeline.steps import index
from tests.steps.conftest import call

DATA = {
    **dict.fromkeys(("dataset", "title", "citation", "version", "licence", "classes"), "d"),
    **{"shape": [1, 8, 8], "parts": {p: {"samples": 1} for p in ("train", "validation", "test")}},
}


def claim(name: str, **changes: Any) -> dict[str, Any]:
    """A row of the ledger."""
    row = {"claim": "a claim", "verdict": REPRODUCED, "theorem": [], "paper": True}
    found = {
        "required": True,
        "value": None,
        "interval": None,
        "p": None,
        "corrected": None,
        "seeds": [],
        "artifact": "a.parquet",
    }
    return {"id": name, **row, **found, "theorem": [], "proof": None, "scope": "here", **changes}


def text_of(folder: Path, rows: list[dict[str, Any]]) -> str:
    """What the page says of the ledger's rows, without its tags."""
    (folder / "claims.json").write_text(json.dumps(rows))
    (folder / "data.json").write_bytes(sealed_json(DATA))
    call(
        index,
        **{"profile": "quick", "ledger": folder / "claims.json", "folder": folder},
        **{"sections": "[]", "figures": folder / "a.svg", "manifests": folder / "data.json"},
        index=folder / "index.html",
    )
    page = (folder / "index.html").read_text()
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page.partition("<main>")[2])).split())


@pytest.mark.parametrize(
    ("verdicts", "short", "counts"),
    [
        (
            [REPRODUCED] * 3 + [PARTLY] * 4,
            "In part",
            "Of its 7 claims: 3 reproduced, 4 reproduced in part.",
        ),
        (
            [REPRODUCED, PARTLY, PARTLY, REFUTED, NOT_RUN],
            "In part",
            "Of its 5 claims: 1 reproduced, 2 reproduced in part, 1 not reproduced, 1 not run.",
        ),
        ([REPRODUCED] * 2, "Yes", "Of its 2 claims: 2 reproduced."),
        ([PARTLY] * 2, "In part", "Of its 2 claims: 2 reproduced in part."),
        ([REPRODUCED, NOT_RUN], "In part", "Of its 2 claims: 1 reproduced, 1 not run."),
        ([REFUTED] * 12, "No", "Of its 12 claims: 12 not reproduced."),
        ([REFUTED, NOT_RUN], "No", "Of its 2 claims: 1 not reproduced, 1 not run."),
        ([NOT_RUN] * 7, "That cannot be judged from this run", "Of its 7 claims: 7 not run."),
    ],
)
def test_the_answer_counts_the_verdicts(
    verdicts: list[str], short: str, counts: str, tmp_path: Path
) -> None:
    rows = [claim(f"C{i}", verdict=verdict) for i, verdict in enumerate(verdicts, 1)]
    page = text_of(tmp_path, rows)
    assert f"Was the paper reproduced? {short}. {counts} Beyond the paper" in page
    assert "The claims are the paper's, in our words. The paper" in page


@pytest.mark.parametrize(
    ("theorems", "proof", "text"),
    [
        ([], None, ""),
        (["T3"], "proved in Coq", " Theorem T3, proved in Coq."),
        (["T2", "T2_b"], "proved in Coq", " Theorems T2, T2_b, proved in Coq."),
        (
            ["T1", "T2", "T3"],
            "not known to be proved: A.v changed since Coq's check",
            " Theorems T1, T2 and 1 more, not known to be proved: A.v changed since Coq's check.",
        ),
    ],
)
def test_the_proof_is_said_of_the_theorem(
    theorems: list[str], proof: str | None, text: str, tmp_path: Path
) -> None:
    rows = [claim("C1", theorem=theorems, proof=proof), claim("C1.a", theorem=theorems)]
    page = text_of(tmp_path, [*rows, claim("C1.b"), claim("C1.c", verdict=REFUTED)])
    kinds = "1 of 1 theorem rows; 1 of 2 measured" if theorems else "2 of 3 measured"
    assert f"C1 a claim{text} reproduced {kinds}" in page


def test_the_experiments_shown_are_this_runs(tmp_path: Path) -> None:
    """Not those of an earlier run, whose files may lie beside them; the first pattern that fits."""
    stems = ["features/digits-mini_vgg-lr0.003-measures", "purity/digits-head-lr0.01"]
    for stem in [*stems, "features/digits-mini_vgg-lr0.001-measures", "flows/digits-mlp-curves"]:
        path = tmp_path / f"{stem}.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text('<svg width="100pt">')
    patterns = {
        "purity": ["purity/digits-mlp-*", "purity/*"],
        "features": ["features/digits-mini_vgg-*-measures"],
        "flows": ["flows/*"],
    }
    sections = [{"page": page, "figure": figure} for page, figure in patterns.items()]
    shown = index.illustrated(sections, [tmp_path / f"{stem}.svg" for stem in stems], tmp_path)
    assert [(section["page"], section["figure"]) for section in shown] == [
        ("purity", stems[1]),
        ("features", stems[0]),
    ]


def test_the_answer_is_of_the_papers_claims_alone(tmp_path: Path) -> None:
    """C8 goes beyond the paper: it is listed, and does not count."""
    verdicts = {"C1": (REPRODUCED, True), "C2": (REPRODUCED, True), "C8": (REFUTED, False)}
    rows = [
        claim(name, verdict=verdict, paper=paper)
        for own, (verdict, paper) in verdicts.items()
        for name in (own, f"{own}.a")
    ]
    page = text_of(tmp_path, rows)
    assert "Yes. Of its 2 claims: 2 reproduced." in page
    assert "The claims are the paper's, in our words, except C8, which is ours. The paper" in page
    assert "C8 a claim not reproduced 0 of 1" in page


def test_text_of_claims_and_data_is_escaped(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    (tmp_path / "claims.json").write_text(
        json.dumps([claim("C1", claim=hostile), claim("C1.a", scope=hostile)])
    )
    (tmp_path / "data.json").write_bytes(sealed_json({**DATA, "licence": hostile}))
    call(
        index,
        **{"profile": "quick", "ledger": tmp_path / "claims.json", "folder": tmp_path},
        **{"sections": "[]", "figures": tmp_path / "a.svg", "manifests": tmp_path / "data.json"},
        index=tmp_path / "index.html",
    )
    page = (tmp_path / "index.html").read_text()
    assert hostile not in page
    assert page.count(html.escape(hostile)) >= 2
