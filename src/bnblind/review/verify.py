"""Print the verdict on each claim, and check that the ledger says what the results say.

Exits 1 if a row of a required claim that a theorem settles is not reproduced or without a number,
or if a number in the ledger no longer matches the table it was read from.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.pipeline.formats.ledger import read_ledger
from bnblind.review.terminal import coloured, within

SAME = 1e-6
"""Relative difference that other processors' rounding may make."""
UNREAD = {"profiles"}
"""What the configuration says of a row, and no table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(),
        help="of the run: where its data/ and reports/ lie (default: here; runs/NAME of a profile)",
    )
    parser.add_argument("--all", action="store_true", help="print every row, not only the claims")


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float | int):
        return math.isclose(ours, theirs, rel_tol=SAME, abs_tol=1e-15)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return bool(ours == theirs)


def discrepancies(written: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[str]:
    """What in the ledger is not what the tables and the claims' file give now, in lines. A row
    whose table or selection is gone is one line; so is a claim, by its rows.
    """
    from bnblind.pipeline.ledger import NO_NUMBER

    lines: list[str] = []
    old, new = ({row["id"]: row for row in rows} for rows in (written, found))
    for name in sorted(dict.fromkeys([*old, *new]), key=lambda name: "." not in name):  # rows first
        if name not in old or name not in new:
            where = "config/claims.yaml" if name in old else "the ledger"
            lines.append(f"{name}: not in {where}")
            continue
        if any(line.startswith(f"{name}.") for line in lines):
            continue  # the claim's rows say it
        gone = new[name]["verdict"] == NO_NUMBER != old[name]["verdict"]
        for key in ["verdict"] if gone else [key for key in new[name] if key not in UNREAD]:
            ours, theirs = new[name][key], old[name].get(key)
            if not _same(ours, theirs):
                lines.append(f"{name}: the ledger says {key} {theirs}, found now {ours}")
    return lines


def _printed(row: dict[str, Any]) -> str:
    value = "" if row["value"] is None else f"{row['value']:.3g}"
    if row["interval"]:
        value += " ({:.3g} to {:.3g})".format(*row["interval"])
    return value


def table(rows: list[dict[str, Any]], *, everything: bool) -> str:
    """The ledger as text, one line per claim, or one line per row."""
    shown = [row for row in rows if everything or "." not in row["id"]]
    found = [_printed(row) if everything else _held(rows, row) for row in shown]
    columns = [
        ["claim", *(row["id"] for row in shown)],
        ["verdict", *(row["verdict"] for row in shown)],
        ["required", *("yes" if row["required"] else "" for row in shown)],
        ["found" if everything else "rows that hold", *found],
    ]
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
    indent = sum(len(column[0]) + 2 for column in padded)
    lines = zip(*padded, ["what is claimed", *map(_claimed, shown)], strict=True)
    return "\n".join(coloured(within("  ".join(line), indent)) for line in lines)


def _held(rows: list[dict[str, Any]], claim: dict[str, Any]) -> str:
    from bnblind.pipeline.ledger import counts

    return counts(row for row in rows if row["id"].startswith(f"{claim['id']}."))


def _claimed(row: dict[str, Any]) -> str:
    """What the row says; of a row that a theorem settles, how that stands."""
    if "." not in row["id"]:
        return str(row["claim"])
    proof = f" ({', '.join(row['theorem'])}: {row['proof']})" if row.get("proof") else ""
    return f"{row['scope']}{proof}"


def ledger_problems(root: Path) -> list[str]:
    """Where the ledger of the run below ``root`` is not what its tables say, in lines; raises
    BadInput if there is no ledger, or it is not one.
    """
    import pandas as pd

    from bnblind.pipeline.configuration.claims_file import read_claims
    from bnblind.pipeline.discovery import experiments, judged_tables
    from bnblind.pipeline.formats.tables import read_table
    from bnblind.pipeline.ledger import ledger
    from bnblind.pipeline.paths import Paths
    from bnblind.pipeline.proofs_record import read_proofs

    paths, declared = Paths(str(root)), experiments().values()
    rows = read_ledger(Path(paths.ledger()))
    beside = [own.of_profile for own in declared if own.of_profile]

    def read(name: str) -> pd.DataFrame | None:
        places = {owner: replace(paths, beside=owner).table(name) for owner in ("", *beside)}
        found = {owner: Path(place) for owner, place in places.items() if Path(place).is_file()}
        tables = [
            (table := read_table(path)).assign(profile=table.get("profile", owner))
            for owner, path in found.items()
        ]
        return pd.concat(tables, ignore_index=True) if tables else None

    claims = read_claims(judged_tables(declared))
    used = sorted({root / row["artifact"] for row in rows if row["seeds"] and "." in row["id"]})
    problems = [
        f"there is no {path}; `make reproduce` makes it" for path in used if not path.is_file()
    ]
    return problems + discrepancies(rows, ledger(claims, read, read_proofs(), beside))


def run(args: argparse.Namespace) -> None:
    """Print the ledger; raise SystemExit with status 1 where it does not stand."""
    from bnblind.pipeline.configuration.claims_file import CLAIMS
    from bnblind.pipeline.ledger import REPRODUCED
    from bnblind.pipeline.paths import Paths

    if not CLAIMS.is_file():
        raise BadInput(f"there is no {CLAIMS} here; call it in the project's folder")
    paths = Paths(str(args.root))
    rows = read_ledger(Path(paths.ledger()))
    if not (results := Path(paths.results())).is_dir():
        raise BadInput(f"there are no results {results}; `make reproduce` makes them")
    print(table(rows, everything=args.all))
    problems = ledger_problems(args.root)
    problems += [
        f"{row['id']} is required and is {row['verdict']}"
        for row in rows
        # What a theorem settles; anything else is an error of the library.
        if row["required"] and "." in row["id"] and row["theorem"] and row["verdict"] != REPRODUCED
    ]
    if problems:
        raise SystemExit("error: " + "\n  ".join(problems))
