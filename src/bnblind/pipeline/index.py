"""Step: the report's first page, the ledger of claims and a picture of each experiment."""

import argparse
import fnmatch
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from bnblind.pipeline.files import publish
from bnblind.pipeline.ledger import NOT_RUN, PARTLY, REFUTED, REPRODUCED, Row, counts
from bnblind.pipeline.pages import fill
from bnblind.pipeline.publishing import readable_width


@dataclass(frozen=True)
class Section:
    """An experiment on the first page.

    Attributes:
        page: name of its page.
        title: heading.
        figure: patterns of stems below the figures' folder; the first that fits is shown, since
            a profile need not have them all.
        sentence: what to see.
    """

    page: str
    title: str
    figure: tuple[str, ...]
    sentence: str


SECTIONS = (
    Section(
        "theorems",
        "What passes each norm",
        ("theorems/passing",),
        "Share of each Taylor term's gradient that passes each norm: 1 where all passes, about "
        "1e-16 (rounding) where nothing does. Float64, synthetic features, losses shared by all "
        "samples of the batch.",
    ),
    Section(
        "linear_signal",
        "A task whose only signal is of first order",
        ("linear_signal/displacement",),
        "How far training moves the weights before the norm: BN and centering alone leave them "
        "at rest.",
    ),
    Section(
        "derivatives",
        "What passes in trained networks",
        ("derivatives/digits-head-norms", "derivatives/*-norms"),
        "Networks trained on label-pure batches: each Taylor term's gradient after the first norm "
        "(dotted) and before it (line). On label-pure batches the first-order term reaches BN and "
        "does not pass it.",
    ),
    Section(
        "classification",
        "Training on random and on label-pure batches",
        ("classification/digits-head-lr0.01-curves", "classification/*-curves"),
        "Training loss and test accuracy of the network whose norm feeds the classifier; line: "
        "mean over seeds, band: their range. Compare a norm's curves from column to column: "
        "whether it still learns from batches of one label. A loss on the dotted line is that of "
        "a guess.",
    ),
    Section(
        "features",
        "The features that training leaves",
        ("features/digits-mini-vgg-*-measures", "features/*-measures"),
        "Silhouette, nearest class mean and linear probe of the penultimate features; each mark a "
        "seed, grey bars before training. Whether training moves a norm's marks to the right of "
        "its own bars, and BN's as far on label-pure batches as on random ones.",
    ),
    Section(
        "purity",
        "From random to label-pure batches",
        ("purity/digits-head-*", "purity/*"),
        "Test accuracy, and what BN blocks, against the share of a batch's samples that have one "
        "label.",
    ),
    Section(
        "flow",
        "Real and interpolated images under a flow",
        ("flow/digits-mlp-scalar-interpolation", "flow/*-interpolation"),
        "Log-likelihood of images between two classes: a flow that tells real from interpolated "
        "images falls in the middle.",
    ),
)


_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def in_words(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def answer(verdicts: list[str]) -> str:
    """Whether the paper was reproduced, from the verdicts on its claims."""
    found = set(verdicts)
    if found == {NOT_RUN}:
        return "This run does not tell"
    if found == {REPRODUCED}:
        return "Yes"
    return "In part" if found & {REPRODUCED, PARTLY} else "No"


def counted(verdicts: list[str]) -> str:
    """How many claims have each verdict, such as "Of its seven claims, three were reproduced and
    four in part".
    """

    def were(count: int) -> str:
        return f"{in_words(count)} {'were' if count > 1 else 'was'}"

    others = {PARTLY: "{n} in part", REFUTED: "{n} not", NOT_RUN: "{were} not run"}
    parts = [f"{were(verdicts.count(REPRODUCED))} reproduced"] + [
        text.format(n=in_words(count), were=were(count))
        for verdict, text in others.items()
        if (count := verdicts.count(verdict))
    ]
    listed = " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
    return f"Of its {in_words(len(verdicts))} claims, {listed}"


def behind(claim: Row, rows: list[Row], most: int = 2) -> str:
    """Of how many of a claim's rows theorems say the same, which (at most so many by name), and
    whether they are proved; empty if the claim names none.
    """
    names = claim["theorem"]
    if not names:
        return ""
    settled = sum(bool(row["theorem"]) for row in rows)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    ending = "s" if len(names) > 1 else ""
    return (
        f"Theorem{ending} behind {settled} of {len(rows)} rows: {', '.join(names[:most])}{more}, "
        f"{claim['proof']}."
    )


def sections(pages: Collection[str], figures: Iterable[Path], folder: Path) -> list[dict[str, str]]:
    """The experiments that this run has: page, title, figure with its least width, sentence.

    Args:
        pages: names of this run's pages.
        figures: this run's, as SVG; an earlier one's may lie beside them in their ``folder``.
    """
    stems = sorted(str(path.relative_to(folder).with_suffix("")) for path in figures)
    shown = []
    for section in SECTIONS:
        found = [stem for pattern in section.figure for stem in fnmatch.filter(stems, pattern)]
        if found and section.page in pages:
            shown.append(
                {
                    "page": section.page,
                    "title": section.title,
                    "figure": found[0],
                    "readable": readable_width((folder / f"{found[0]}.svg").read_bytes()),
                    "sentence": section.sentence,
                }
            )
    return shown


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="index", description=__doc__)
    parser.add_argument("--profile", required=True, help="name of the profile")
    parser.add_argument("--ledger", type=Path, required=True, help="verdicts to read")
    parser.add_argument("--pages", type=Path, nargs="+", required=True, help="the other pages")
    parser.add_argument("--folder", type=Path, required=True, help="of the figures")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="of those pages")
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="to read")
    parser.add_argument("--index", type=Path, required=True, help="page to write")
    args = parser.parse_args(argv)

    rows = json.loads(args.ledger.read_text())
    parts = {
        claim["id"]: [row for row in rows if row["id"].startswith(f"{claim['id']}.")]
        for claim in rows
        if "." not in claim["id"]
    }
    claims = [
        {**row, "behind": behind(row, own), "counts": counts(own)}
        for row in rows
        if (own := parts.get(row["id"]))
    ]
    verdicts = [claim["verdict"] for claim in claims if claim["paper"]]
    page = fill(
        "index.html.j2",
        profile=args.profile,
        answer=answer(verdicts),
        counts=counted(verdicts),
        beyond=[claim["id"] for claim in claims if not claim["paper"]],
        claims=claims,
        parts=parts,
        sections=sections({page.stem for page in args.pages}, args.figures, args.folder),
        datasets=[json.loads(path.read_text()) for path in args.manifests],
    )
    publish({args.index: page})
