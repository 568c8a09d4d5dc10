"""Step: the report's first page: what was found, the ledger of claims, where all else is."""

import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.ledger import read_ledger
from bnblind.pipeline.formats.pages import fill
from bnblind.pipeline.formats.prose import glossary_of, with_terms
from bnblind.pipeline.formats.publishing import caption_of, readable_width
from bnblind.pipeline.formats.seal import read_sealed_json
from bnblind.pipeline.ledger import counts
from bnblind.pipeline.options import parse

PLACES = ("headline", "abstract", "beyond", "scope")


def pictures(figures: Iterable[Path], folder: Path) -> dict[str, dict[str, str]]:
    """Of each figure of this run, by its stem below ``folder``: the width at which it is readable,
    and its caption. Those of an earlier run may lie beside them.
    """
    found = {path.relative_to(folder).with_suffix(""): path.read_bytes() for path in figures}
    return {
        stem.as_posix(): {"width": readable_width(svg), "caption": caption_of(svg)}
        for stem, svg in found.items()
    }


def short(theorems: Iterable[str]) -> list[str]:
    """Of which of the paper's theorems these are cases, as ``T2_blocked`` and ``center_T2`` are."""
    return sorted({*re.findall(r"T\d+", " ".join(theorems))})


def main(argv: list[str]) -> None:
    args = parse(
        __name__,
        argv,
        word="profile",
        settings="sections",
        file="ledger findings folder index terms",
        files="figures manifests",
    )
    rows = read_ledger(args.ledger)
    findings = json.loads(args.findings.read_text(encoding="utf-8"))
    parts = {
        claim["id"]: [row for row in rows if row["id"].startswith(f"{claim['id']}.")]
        for claim in rows
        if "." not in claim["id"]
    }
    _, _, terms = glossary_of(args.terms.read_text(encoding="utf-8"))
    page = fill(
        "index.html.j2",
        linked=partial(with_terms, terms=terms, glossary="pages/glossary.html"),
        profile=args.profile,
        told={place: [one for one in findings if one["place"] == place] for place in PLACES},
        claims=[
            row | {"counts": counts(parts[row["id"]]), "theorem": short(row["theorem"])}
            for row in rows
            if row["id"] in parts
        ],
        parts=parts,
        pictures=pictures(args.figures, args.folder),
        sections=args.sections,
        datasets=[read_sealed_json(path) for path in args.manifests],
    )
    publish({args.index: page})
