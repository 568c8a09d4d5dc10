"""Step: judge the claims by this run's results."""

import argparse
from pathlib import Path

import pandas as pd

from bnblind.pipeline.configuration.claims_file import read_claims
from bnblind.pipeline.formats.files import json_bytes, publish
from bnblind.pipeline.formats.pages import fill
from bnblind.pipeline.formats.tables import read_table
from bnblind.pipeline.ledger import ledger
from bnblind.pipeline.proofs_record import read_proofs


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="claims", description=__doc__)
    parser.add_argument("--claims", type=Path, required=True, help="what counts as reproduced")
    parser.add_argument("--proofs", type=Path, required=True, help="record of Coq's check")
    parser.add_argument("--results", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="this profile's")
    parser.add_argument("--kinds", nargs="+", required=True, help="tables that a row may read")
    parser.add_argument("--profile", required=True, help="name of the profile")
    parser.add_argument("--ledger", type=Path, required=True, help="verdicts to write")
    parser.add_argument("--verdicts", type=Path, required=True, help="the same for `dvc metrics`")
    parser.add_argument("--page", type=Path, required=True, help="page to write")
    args = parser.parse_args(argv)
    paths = {str(path.relative_to(args.results).with_suffix("")): path for path in args.tables}

    def read(name: str) -> pd.DataFrame | None:
        return read_table(paths[name]) if name in paths else None

    rows = ledger(read_claims(args.kinds, args.claims), read, read_proofs(args.proofs))
    page = fill("claims.html.j2", profile=args.profile, rows=rows)
    verdicts = {row["id"]: {key: row[key] for key in ("value", "verdict")} for row in rows}
    publish({args.ledger: json_bytes(rows), args.verdicts: json_bytes(verdicts), args.page: page})
    for row in rows:
        print(f"{row['id']}: {row['verdict']}")
