"""Sentences whose numbers are measured: what is filled in, and what this run cannot tell."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from bnblind import BadInput
from bnblind.figures.typesetting import SPACE, typeset
from bnblind.pipeline.findings import macros, read_findings, told
from bnblind.pipeline.ledger import NO_NUMBER, REFUTED, REPRODUCED
from bnblind.pipeline.steps.claims import against_tolerance
from tests.conftest import ROOT

TABLE = pd.DataFrame({"seed": [50, 51, 52], "norm": "bn", "value": [0.25, 0.5, 0.75]})
NUMBER = {"table": "classification", "where": {"norm": "bn"}, "mean": "value"}
LEDGER: list[dict[str, Any]] = [
    {"id": "C1", "theorem": ["T1"], "value": 1.0, "interval": None, "verdict": REPRODUCED},
    {
        "id": "C1.a",
        "theorem": ["T1"],
        "value": 2e-16,
        "interval": [1e-16, 3e-16],
        "verdict": REPRODUCED,
    },
    {"id": "C1.b", "theorem": [], "value": 0.5, "interval": [0.4, 0.6], "verdict": REFUTED},
    {"id": "C1.c", "theorem": [], "value": None, "interval": None, "verdict": NO_NUMBER},
]


def text(template: str, table: pd.DataFrame | None = TABLE, **more: Any) -> list[str]:
    finding = {"place": "beyond", "title": "A", "text": template, **more}
    found = told([finding], lambda name: table, LEDGER)
    return [one["text"].replace(SPACE, " ") for one in found]


def test_numbers_are_measured_and_told_as_asked() -> None:
    numbers = {"x": NUMBER}
    assert text("{x:.2f}, {x:%}, {x:.1f+}", numbers=numbers) == ["0.50, 50 %, 0.5 (−0.1 to 1.1)"]
    assert text("{found:.1e}", row="C1.a") == ["2.0 × 10⁻¹⁶"]
    assert text("{x:%+}", numbers=numbers) == ["50 % (−12 % to 112 %)"]
    assert text("{theorems_held} of {theorems}, {measured_held} of {measured}") == [
        "1 of 1, 0 of 1"
    ]
    near = TABLE.assign(value=-1e-9)
    assert text("{x:.2f}", near, numbers=numbers) == ["0.00"]


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("1.3e-15 (1e-16 to 1e+02)", "1.3 × 10⁻¹⁵ (10⁻¹⁶ to 10²)"),
        ("-0.02 (-1e-05 to -2e-05)", "−0.02 (−10⁻⁵ to −2 × 10⁻⁵)"),
        ("largest <= 1e-12, |leak - 1| >= 0.5", "largest ≤ 10⁻¹², |leak - 1| ≥ 0.5"),
        ("-0.00 (-0.000 to -0.001), 13 %", "0.00 (0.000 to −0.001), 13 %"),
        ("x86-64, VGG-11, ResNet-18, 2e", "x86-64, VGG-11, ResNet-18, 2e"),
    ],
)
def test_numbers_are_printed_as_in_books(written: str, printed: str) -> None:
    assert typeset(written).replace(SPACE, " ") == printed
    for broken in ("× ", " %"):
        assert broken not in typeset(written)
    assert typeset("0.5 (-0.1 to 0.9)") == f"0.5 (−0.1{SPACE}to{SPACE}0.9)"


def test_what_a_run_cannot_tell_is_left_out() -> None:
    numbers = {"x": NUMBER}
    assert text("{x:.2f}", None, numbers=numbers) == []
    assert text("{x:.2f}", TABLE[:2], numbers=numbers) == [], "too few seeds"
    assert text("{x:.2f}", TABLE.rename(columns={"norm": "n"}), numbers=numbers) == []
    assert text("{found:.1f}", row="C1.c") == [], "a row that was not run"
    assert text("no number") == ["no number"]
    none = {"place": "headline", "title": "A", "text": "{theorems_held} of {theorems}"}
    assert told([none], lambda name: TABLE, LEDGER[2:]) == [], "not 0 of 0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"place": "elsewhere"}, "place: found 'elsewhere'"),
        ({"text": "two\nlines"}, "text"),
        ({"numbers": {"x": {"table": "t"}}}, "A, x: top level: 'where' is a required property"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "findings.yaml"
    path.write_text(yaml.safe_dump([{"place": "beyond", "title": "A", "text": "b"} | change]))
    with pytest.raises(BadInput) as caught:
        read_findings(path)
    assert message in str(caught.value)


def test_every_finding_has_the_rows_and_claims_that_it_names() -> None:
    claims = yaml.safe_load((ROOT / "config/claims.yaml").read_text())
    for finding in read_findings(ROOT / "config/findings.yaml"):
        claim, _, part = finding.get("row", "").partition(".")
        assert not part or part in claims[claim]["rows"], finding["title"]
        assert {*finding.get("claims", [])} <= {*claims}, finding["title"]


def test_a_row_can_be_cited_in_latex() -> None:
    """As TeX's own macros do it: one for each row with a number."""
    lines = macros(LEDGER).splitlines()
    assert lines[0] == r"\newcommand{\bnblind}[1]{\csname bnblind@#1\endcsname}"
    assert lines[1:] == [
        r"\expandafter\def\csname bnblind@C1.a\endcsname{2e-16 (1e-16 to 3e-16)}",
        r"\expandafter\def\csname bnblind@C1.b\endcsname{0.5 (0.4 to 0.6)}",
    ]


@pytest.mark.parametrize(
    ("row", "places"),
    [
        (
            {"predicate": "mean >= 0.1", "tolerance": 0.1, "value": 0.3, "interval": [0.2, 0.4]},
            [65.33, 80.67, 96],
        ),
        (
            {"predicate": "mean <= 0.1", "tolerance": 0.1, "value": 0.3, "interval": [0.2, 0.4]},
            [34.67, 19.33, 4],
        ),
        (
            {"predicate": "largest <= 1", "tolerance": 1, "value": 1, "interval": [1, 1]},
            [50, 50, 50],
        ),
    ],
)
def test_a_row_lies_right_of_its_tolerance_where_it_holds(
    row: dict[str, Any], places: list[float]
) -> None:
    assert against_tolerance(row) == pytest.approx(places, abs=0.01)
