"""Step: judge the claims by this run's results."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bnblind.figures.naming import in_runs
from bnblind.pipeline.configuration.claims_file import read_claims
from bnblind.pipeline.findings import macros, read_findings, told
from bnblind.pipeline.formats.files import json_bytes, publish
from bnblind.pipeline.formats.pages import fill
from bnblind.pipeline.formats.prose import glossary_of, with_terms
from bnblind.pipeline.formats.tables import read_table
from bnblind.pipeline.ledger import VERDICTS, ledger
from bnblind.pipeline.options import parse
from bnblind.pipeline.proofs_record import read_proofs


def against_tolerance(row: Mapping[str, Any]) -> list[float]:
    """Where the ends of a row's interval and its number lie on a scale from 0 to 100: the tolerance
    at 50, and where the row holds on the right of it.
    """
    sign = 1 if ">=" in row["predicate"] else -1
    low, high = row["interval"]
    away = [sign * (value - row["tolerance"]) for value in (low, row["value"], high)]
    scale = max(map(abs, away)) or 1.0
    return [round(50 + 46 * distance / scale, 2) for distance in away]


def main(argv: list[str]) -> None:
    args = parse(
        __name__,
        argv,
        word="profile",
        words="kinds",
        settings="owners",
        file="claims findings proofs results ledger verdicts told macros page terms",
        files="tables",
    )

    def table_of(path: Path) -> tuple[str, pd.DataFrame]:
        """The name under which claims read it, whichever profile made it; and the table. One
        without a column `profile` was computed whole by its owner.
        """
        owner, table = args.owners[str(path)], read_table(path)
        name = str(path.relative_to(args.results).with_suffix(""))
        return name.removeprefix(f"{owner}/"), table.assign(profile=table.get("profile", owner))

    places = {owner: args.results / owner for owner in args.owners.values()}
    beside = [owner for owner, own in places.items() if any(own in p.parents for p in args.tables)]
    parts: dict[str, list[pd.DataFrame]] = {}
    for name, table in map(table_of, args.tables):
        parts.setdefault(name, []).append(table)
    tables = {name: pd.concat(own, ignore_index=True) for name, own in parts.items()}
    claims, proofs = read_claims(args.kinds, args.claims), read_proofs(args.proofs)
    rows = ledger(claims, tables.get, proofs, beside)
    named = {name: proofs.theorems[name] for row in rows for name in row["theorem"]}
    judged = [row for row in rows if "." in row["id"]]
    _, _, terms = glossary_of(args.terms.read_text(encoding="utf-8"))
    page = fill(
        "claims.html.j2",
        linked=partial(with_terms, terms=terms),
        profile=args.profile,
        rows=rows,
        judged=judged,
        shown=[verdict for verdict in VERDICTS if verdict in {row["verdict"] for row in judged}],
        marks={row["id"]: against_tolerance(row) for row in rows if row["interval"]},
        seeds={row["id"]: in_runs(row["seeds"] or ()) for row in rows},
        theorems=named,
    )
    verdicts = {row["id"]: {key: row[key] for key in ("value", "verdict")} for row in rows}
    sentences = told(read_findings(args.findings), tables.get, rows)
    publish(
        {
            args.ledger: json_bytes(rows),
            args.verdicts: json_bytes(verdicts),
            args.told: json_bytes(sentences),
            args.macros: macros(rows).encode(),
            args.page: page,
        }
    )
    for row in rows:
        print(f"{row['id']}: {row['verdict']}")
