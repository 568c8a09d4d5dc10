"""The first page's answer: it agrees with the ledger."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bnblind.pipeline.formats.seal import sealed_json
from bnblind.pipeline.ledger import NO_NUMBER, PARTLY, REFUTED, REPRODUCED
from bnblind.pipeline.steps import index
from tests.steps.conftest import call

DATA = {
    **dict.fromkeys(("dataset", "title", "citation", "version", "licence", "classes"), "d"),
    **{"shape": [1, 8, 8], "parts": {p: {"samples": 1} for p in ("train", "validation", "test")}},
}

SECTIONS = [{"page": "causes", "title": "t", "sentence": "s", "of": "", "main": ["causes/a"]}]


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


def page_of(
    folder: Path,
    rows: list[dict[str, Any]],
    findings: list[dict[str, Any]] | None = None,
    data: dict[str, Any] = DATA,
) -> str:
    (folder / "claims.json").write_text(json.dumps(rows))
    (folder / "findings.json").write_text(json.dumps(findings or []))
    (folder / "data.json").write_bytes(sealed_json(data))
    (folder / "glossary.md").write_text("- **Claim**: a statement.\n- **Script**: code.\n")
    figure = folder / "figures/causes/a.svg"
    figure.parent.mkdir(parents=True, exist_ok=True)
    figure.write_text('<svg width="100pt"><dc:description>To &lt;see&gt;</dc:description>')
    call(
        index,
        **{"profile": "quick", "ledger": folder / "claims.json", "folder": folder / "figures"},
        **{"sections": json.dumps(SECTIONS), "figures": figure, "manifests": folder / "data.json"},
        **{"findings": folder / "findings.json", "index": folder / "index.html"},
        terms=folder / "glossary.md",
    )
    return (folder / "index.html").read_text()


def text_of(folder: Path, rows: list[dict[str, Any]], **more: Any) -> str:
    """What the page says, without its tags."""
    page = page_of(folder, rows, **more).partition("<main")[2].partition(">")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())


def finding(place: str, **changes: Any) -> dict[str, Any]:
    found = {"place": place, "title": "A title", "text": "A `text`.", "big": "0.71", "row": None}
    return {**found, "verdict": None, "claims": [], "figure": "causes/a", **changes}


@pytest.mark.parametrize(
    ("verdicts", "short", "counts"),
    [
        (
            [REPRODUCED] * 3 + [PARTLY] * 4,
            "In part",
            "Of its 7 claims: 3 reproduced, 4 reproduced in part.",
        ),
        (
            [REPRODUCED, PARTLY, PARTLY, REFUTED, NO_NUMBER],
            "In part",
            "Of its 5 claims: 1 reproduced, 2 reproduced in part, 1 not reproduced, "
            "1 without a number.",
        ),
        ([REPRODUCED] * 2, "Yes", "Of its 2 claims: 2 reproduced."),
        ([PARTLY] * 2, "In part", "Of its 2 claims: 2 reproduced in part."),
        ([REPRODUCED, NO_NUMBER], "In part", "Of its 2 claims: 1 reproduced, 1 without a number."),
        ([REFUTED] * 12, "No", "Of its 12 claims: 12 not reproduced."),
        ([REFUTED, NO_NUMBER], "No", "Of its 2 claims: 1 not reproduced, 1 without a number."),
        (
            [NO_NUMBER] * 7,
            "That cannot be judged from this run",
            "Of its 7 claims: 7 without a number.",
        ),
    ],
)
def test_the_answer_counts_the_verdicts(
    verdicts: list[str], short: str, counts: str, tmp_path: Path
) -> None:
    rows = [claim(f"C{i}", verdict=verdict) for i, verdict in enumerate(verdicts, 1)]
    page = text_of(tmp_path, rows)
    assert f"Was the paper reproduced? {short}. {counts}" in page
    assert "The claims are the paper's, in our words. Profile: quick (the default)." in page


@pytest.mark.parametrize(
    ("theorems", "proof", "text"),
    [
        ([], None, ""),
        (["T3"], "proved in Coq", " Theorem T3, proved in Coq."),
        (["T2", "T2_blocked"], "proved in Coq", " Theorem T2, proved in Coq."),
        (
            ["center_T1", "T2", "affine_passes"],
            "not known to be proved: A.v changed since Coq's check",
            " Theorems T1, T2, not known to be proved: A.v changed since Coq's check.",
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


def test_a_finding_stands_in_its_place_with_the_figure_that_this_run_has(tmp_path: Path) -> None:
    """Once; one that an earlier run left, or that this run has not, is not shown."""
    rows = [claim("C1", verdict=PARTLY), claim("C1.a", verdict=REFUTED)]
    stale = tmp_path / "figures/causes/b.svg"
    stale.parent.mkdir(parents=True)
    stale.write_text('<svg width="100pt">')
    findings = [
        finding("headline", title="The theorems hold"),
        finding("abstract", row="C1.a", verdict=REFUTED, claims=["C1"], figure="causes/b"),
        {
            k: v
            for k, v in finding("abstract", title="B", row="C1.a", verdict=REFUTED).items()
            if k != "claims"
        },
        finding("beyond", title="Beyond", claims=["C1"]),
        finding("scope", title="What was easy"),
    ]
    page = page_of(tmp_path, rows, findings)
    assert page.count('src="figures/causes/a.svg"') == 1
    assert page.count('href="pages/causes.html#causes/a"') == 1 + 3
    assert "causes/b" not in page
    assert page.count('alt="To &lt;see&gt;"') == 1
    text = text_of(tmp_path, rows, findings=findings)
    assert "The theorems hold 0.71 A text. Figure To <see>" in text
    assert "A title Claims: C1 partly. The first number below is row C1.a: not reproduced." in text
    assert "B The first number below is row C1.a: not reproduced." in text
    assert text.index("The theorems hold") < text.index("What the paper claims")
    assert text.index("Beyond A text. Figure Claims: C1.") < text.index("What was easy. A text.")
    assert "<code>text</code>" in page
    assert page.count('<a class="term" href="pages/glossary.html#claim">claims</a>') == 1


def test_rows_that_do_not_hold_are_listed(tmp_path: Path) -> None:
    refuted = {"value": 0.75, "interval": [0.5, 1.0], "predicate": "largest <= 0.25"}
    rows = [
        claim("C1", verdict=PARTLY),
        claim("C1.a", verdict=REFUTED, scope="there", **refuted),
        claim("C1.b", verdict=NO_NUMBER, scope="nowhere"),
    ]
    text = text_of(tmp_path, rows)
    assert "What does not hold: 1 row C1.a there: 0.75 (0.5 to 1), must be ≤ 0.25" in text
    assert "What has no number: not run, or undefined: 1 row C1.b nowhere" in text
    assert "What is undecided" not in text


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
    assert "The claims are the paper's, in our words, except C8, which is ours. Profile" in page
    assert "C8 a claim not reproduced 0 of 1" in page


def test_text_of_claims_findings_and_data_is_escaped(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    rows = [claim("C1", claim=hostile), claim("C1.a", scope=hostile)]
    findings = [finding("beyond", text=hostile), finding("headline", title=hostile)]
    page = page_of(tmp_path, rows, findings, {**DATA, "licence": hostile})
    assert hostile not in page
    assert page.count(html.escape(hostile)) >= 5
