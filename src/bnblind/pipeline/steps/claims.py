"""Step: judge the claims by this run's results."""

from pathlib import Path

import pandas as pd

from bnblind.pipeline.configuration.claims_file import read_claims
from bnblind.pipeline.formats.files import json_bytes, publish
from bnblind.pipeline.formats.pages import fill
from bnblind.pipeline.formats.tables import read_table
from bnblind.pipeline.ledger import ledger
from bnblind.pipeline.options import parse
from bnblind.pipeline.proofs_record import read_proofs


def main(argv: list[str]) -> None:
    args = parse(
        __name__,
        argv,
        word="profile",
        words="kinds",
        settings="owners",
        file="claims proofs results ledger verdicts page",
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
    page = fill("claims.html.j2", profile=args.profile, rows=rows)
    verdicts = {row["id"]: {key: row[key] for key in ("value", "verdict")} for row in rows}
    publish({args.ledger: json_bytes(rows), args.verdicts: json_bytes(verdicts), args.page: page})
    for row in rows:
        print(f"{row['id']}: {row['verdict']}")
