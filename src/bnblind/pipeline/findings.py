"""What was found, in sentences: those of ``config/findings.yaml``, their numbers measured."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Formatter
from typing import Any

from bnblind.errors import BadInput
from bnblind.figures.typesetting import typeset
from bnblind.pipeline.configuration.claims_file import SCHEMA as CLAIMS_SCHEMA
from bnblind.pipeline.configuration.schema import read_yaml, violations
from bnblind.pipeline.ledger import REPRODUCED, ReadTable, Row
from bnblind.pipeline.measurement import Unjudged, measure

FINDINGS = Path("config/findings.yaml")
SCHEMA = Path("workflow/schemas/findings.schema.yaml")


class Number:
    """A measured number in a sentence: ``{x:.2f}``, as a whole percentage ``{x:%}``, and with its
    interval ``{x:.2f+}``.
    """

    def __init__(self, value: float, interval: Iterable[float]) -> None:
        self.value, self.interval = value, [*interval]

    def __format__(self, how: str) -> str:
        return typeset(self.plain(how))

    def plain(self, how: str) -> str:
        """As a computer reads it."""

        def told(value: float) -> str:
            if how.startswith("%"):
                return f"{100 * value:.0f} %"
            text = f"{value:{how.rstrip('+')}}"
            return text if float(text) else text.lstrip("-")

        if not how.endswith("+"):
            return told(self.value)
        return "{} ({} to {})".format(*map(told, (self.value, *self.interval)))


def slots(finding: Mapping[str, Any]) -> set[str]:
    """The names of the numbers that a finding's sentences have."""
    texts = (finding["text"], finding.get("big", ""))
    return {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}


def read_findings(path: Path = FINDINGS) -> list[dict[str, Any]]:
    """The sentences, checked. The BadInput names every offending key with what was found and what
    is allowed.
    """
    found: list[dict[str, Any]] = read_yaml(path)
    if lines := violations(found, read_yaml(SCHEMA)):
        raise BadInput(f"{path}: " + "\n  ".join(lines))
    claims = read_yaml(CLAIMS_SCHEMA)
    of_row = claims["additionalProperties"]["properties"]["rows"]["additionalProperties"]
    number = {**of_row, "required": ["table", "where"], "$defs": claims["$defs"]}
    for finding in found:
        for name, row in finding.get("numbers", {}).items():
            if wrong := violations(row, number):
                raise BadInput(f"{path}, {finding['title']}, {name}: {wrong[0]}")
    return found


def _numbers(finding: Mapping[str, Any], read: ReadTable, ledger: list[Row]) -> dict[str, Any]:
    """All that its slots may name: numbers of its own, ``found`` of its row of the ledger, and how
    many of the ledger's rows a theorem settles or does not, and hold. Without those that this run
    cannot tell.
    """
    numbers: dict[str, Any] = {}
    for name, row in finding.get("numbers", {}).items():
        table = read(row["table"])
        try:
            measured = None if table is None else measure(row, table)
        except (BadInput, Unjudged):
            measured = None
        if measured is not None:
            numbers[name] = Number(measured.value, measured.interval)
    for row in ledger:
        if row["id"] == finding.get("row") and row["value"] is not None:
            numbers["found"] = Number(row["value"], row["interval"])
    for name, of_theorem in (("theorems", True), ("measured", False)):
        own = [r for r in ledger if "." in r["id"] and bool(r["theorem"]) is of_theorem]
        if run := [r for r in own if r["value"] is not None]:
            numbers[name] = len(run)
            numbers[f"{name}_held"] = sum(r["verdict"] == REPRODUCED for r in run)
    return numbers


def told(
    findings: Iterable[Mapping[str, Any]], read: ReadTable, ledger: list[Row]
) -> list[dict[str, Any]]:
    """The findings whose numbers this run has, their slots filled in."""
    verdicts = {row["id"]: row["verdict"] for row in ledger}
    found = []
    for finding in findings:
        numbers = _numbers(finding, read, ledger)
        if slots(finding) <= {*numbers}:
            row, kept = finding.get("row"), ("place", "title", "claims", "figure")
            words = {
                "text": finding["text"].format(**numbers).strip(),
                "big": finding.get("big", "").format(**numbers),
                "row": row,
                "verdict": verdicts.get(row),
            }
            found.append({key: finding[key] for key in kept if key in finding} | words)
    return found


def macros(ledger: Iterable[Row]) -> str:
    r"""The ledger for LaTeX: ``\bnblind{C5.head}`` is that row's number and interval."""
    lines = [r"\newcommand{\bnblind}[1]{\csname bnblind@#1\endcsname}"]
    for row in ledger:
        if "." in row["id"] and row["value"] is not None:
            number = Number(row["value"], row["interval"])
            lines.append(
                rf"\expandafter\def\csname bnblind@{row['id']}\endcsname{{{number.plain('.3g+')}}}"
            )
    return "\n".join([*lines, ""])
