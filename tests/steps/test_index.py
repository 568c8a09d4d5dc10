"""The first page's answer: true for whatever the ledger says."""

import json
from pathlib import Path

import pytest

from bnblind.pipeline.index import answer, behind, counted, main, sections
from bnblind.pipeline.ledger import NOT_RUN, PARTLY, REFUTED, REPRODUCED

DATA = {
    **dict.fromkeys(("dataset", "version", "source", "licence", "classes"), "d"),
    **{"shape": [1, 8, 8], "parts": {p: {"samples": 1} for p in ("train", "validation", "test")}},
}


@pytest.mark.parametrize(
    ("verdicts", "short", "counts"),
    [
        (
            [REPRODUCED] * 3 + [PARTLY] * 4,
            "In part",
            "Of its seven claims, three were reproduced and four in part",
        ),
        (
            [REPRODUCED, PARTLY, PARTLY, REFUTED, NOT_RUN],
            "In part",
            "Of its five claims, one was reproduced, two in part, one not and one was not run",
        ),
        ([REPRODUCED] * 2, "Yes", "Of its two claims, two were reproduced"),
        ([PARTLY] * 2, "In part", "Of its two claims, none was reproduced and two in part"),
        ([REFUTED] * 12, "No", "Of its 12 claims, none was reproduced and 12 not"),
        (
            [NOT_RUN] * 7,
            "This run does not tell",
            "Of its seven claims, none was reproduced and seven were not run",
        ),
    ],
)
def test_the_answer_counts_the_verdicts(verdicts: list[str], short: str, counts: str) -> None:
    assert answer(verdicts) == short
    assert counted(verdicts) == counts


@pytest.mark.parametrize(
    ("theorems", "proof", "text"),
    [
        ([], None, ""),
        (["T3"], "proved in Coq", "Theorem behind 1 of 3 rows: T3, proved in Coq."),
        (["T2", "T2_b"], "proved in Coq", "Theorems behind 1 of 3 rows: T2, T2_b, proved in Coq."),
        (
            ["T1", "T2", "T3"],
            "not known to be proved: A.v changed since Coq's check",
            "Theorems behind 1 of 3 rows: T1, T2 and 1 more, not known to be proved: A.v changed "
            "since Coq's check.",
        ),
    ],
)
def test_the_proof_is_said_of_the_theorem(theorems: list[str], proof: str, text: str) -> None:
    rows = [{"theorem": theorems}, {"theorem": []}, {"theorem": []}]
    assert behind({"theorem": theorems, "proof": proof}, rows) == text


def test_the_experiments_shown_are_this_runs(tmp_path: Path) -> None:
    """Not those of an earlier run, whose files may lie beside them."""
    stems = ["features/digits-mini-vgg-lr0.003-measures", "purity/digits-head-lr0.01"]
    for stem in [*stems, "features/digits-mini-vgg-lr0.001-measures"]:
        path = tmp_path / f"{stem}.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text('<svg width="100pt">')
    figures = [tmp_path / f"{stem}.svg" for stem in stems]
    shown = sections({"features", "flow"}, figures, tmp_path)
    assert [(part["page"], part["figure"]) for part in shown] == [("features", stems[0])]


def test_the_answer_is_of_the_papers_claims_alone(tmp_path: Path) -> None:
    """C8 goes beyond the paper: it is listed, and does not count."""
    row = {"undecided": False, "theorem": [], "proof": None, "scope": "s", "claim": "c"}
    verdicts = {"C1": (REPRODUCED, True), "C2": (REPRODUCED, True), "C8": (REFUTED, False)}
    rows = [
        row | {"id": name, "verdict": verdict, "paper": paper}
        for claim, (verdict, paper) in verdicts.items()
        for name in (claim, f"{claim}.a")
    ]
    (tmp_path / "claims.json").write_text(json.dumps(rows))
    (tmp_path / "data.json").write_text(json.dumps(DATA))
    main(
        [
            *("--profile", "quick", "--ledger", str(tmp_path / "claims.json")),
            *("--pages", "a.html", "--folder", str(tmp_path), "--figures", f"{tmp_path}/a.svg"),
            *("--manifests", str(tmp_path / "data.json"), "--index", str(tmp_path / "i.html")),
        ]
    )
    page = " ".join((tmp_path / "i.html").read_text().split())
    assert "Yes.</b> Of its two claims, two were reproduced" in page
    assert "All claims but C8 are the paper's" in page
