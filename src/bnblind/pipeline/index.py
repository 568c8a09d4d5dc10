"""Step: the report's first page, the ledger of claims and a picture of each experiment."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from bnblind.pipeline.files import publish
from bnblind.pipeline.pages import fill


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
        "mean over seeds, band: their range.",
    ),
    Section(
        "features",
        "The features that training leaves",
        ("features/digits-mini-vgg-*-measures", "features/*-measures"),
        "Silhouette, nearest class mean and linear probe of the penultimate features, before "
        "training and after it.",
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


def sections(pages: Path, figures: Path) -> list[dict[str, str]]:
    """The experiments that this run has: their page, title, figure and sentence."""
    shown = []
    for section in SECTIONS:
        found = [
            path.relative_to(figures).as_posix().removesuffix(".svg")
            for pattern in section.figure
            for path in sorted(figures.glob(f"{pattern}.svg"))
        ]
        if found and (pages / f"{section.page}.html").is_file():
            shown.append(
                {
                    "page": section.page,
                    "title": section.title,
                    "figure": found[0],
                    "sentence": section.sentence,
                }
            )
    return shown


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="index", description=__doc__)
    parser.add_argument("--profile", required=True, help="name of the profile")
    parser.add_argument("--ledger", type=Path, required=True, help="verdicts to read")
    parser.add_argument("--pages", type=Path, required=True, help="folder of the other pages")
    parser.add_argument("--figures", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="to read")
    parser.add_argument("--index", type=Path, required=True, help="page to write")
    args = parser.parse_args(argv)

    rows = json.loads(args.ledger.read_text())
    claims = [row for row in rows if "." not in row["id"]]
    parts = {
        claim["id"]: [row for row in rows if row["id"].startswith(f"{claim['id']}.")]
        for claim in claims
    }
    page = fill(
        "index.html.j2",
        profile=args.profile,
        claims=claims,
        parts=parts,
        sections=sections(args.pages, args.figures),
        datasets=[json.loads(path.read_text()) for path in args.manifests],
    )
    publish({args.index: page})
