"""Step: judge the claims by this run's results."""

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
    paths = {str(path.relative_to(args.results).with_suffix("")): path for path in args.tables}

    def read(name: str) -> pd.DataFrame | None:
        """The table; one without a column `profile` was computed whole by its owner."""
        if name not in paths:
            return None
        table = read_table(paths[name])
        return table if "profile" in table else table.assign(profile=args.owners[str(paths[name])])

    rows = ledger(read_claims(args.kinds, args.claims), read, read_proofs(args.proofs))
    page = fill("claims.html.j2", profile=args.profile, rows=rows)
    verdicts = {row["id"]: {key: row[key] for key in ("value", "verdict")} for row in rows}
    publish({args.ledger: json_bytes(rows), args.verdicts: json_bytes(verdicts), args.page: page})
    for row in rows:
        print(f"{row['id']}: {row['verdict']}")
