"""Step: the report's first page, the ledger of claims and a picture of each experiment."""

import fnmatch
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.ledger import read_ledger
from bnblind.pipeline.formats.pages import fill
from bnblind.pipeline.formats.publishing import readable_width
from bnblind.pipeline.formats.seal import read_sealed_json
from bnblind.pipeline.ledger import counts
from bnblind.pipeline.options import parse


def illustrated(
    sections: Iterable[dict[str, Any]], figures: Iterable[Path], folder: Path
) -> list[dict[str, Any]]:
    """The sections for which this run has a figure, each with the first one that matches.

    Args:
        sections: page, title, sentence and figure, patterns of stems below ``folder``.
        figures: this run's, as SVG; those of an earlier run may lie beside them.
    """
    stems = sorted(str(path.relative_to(folder).with_suffix("")) for path in figures)
    shown = []
    for section in sections:
        found = [stem for pattern in section["figure"] for stem in fnmatch.filter(stems, pattern)]
        if found:
            readable = readable_width((folder / f"{found[0]}.svg").read_bytes())
            shown.append({**section, "figure": found[0], "readable": readable})
    return shown


def main(argv: list[str]) -> None:
    args = parse(
        __name__,
        argv,
        word="profile",
        settings="sections",
        file="ledger folder index",
        files="figures manifests",
    )

    rows = read_ledger(args.ledger)
    parts = {
        claim["id"]: [row for row in rows if row["id"].startswith(f"{claim['id']}.")]
        for claim in rows
        if "." not in claim["id"]
    }
    page = fill(
        "index.html.j2",
        profile=args.profile,
        claims=[row | {"counts": counts(parts[row["id"]])} for row in rows if row["id"] in parts],
        parts=parts,
        sections=illustrated(args.sections, args.figures, args.folder),
        datasets=[read_sealed_json(path) for path in args.manifests],
    )
    publish({args.index: page})
