"""Step: a figure of the training images of a prepared data set."""

import os

from bnblind.figures.data import contact_sheet
from bnblind.figures.style import use_style
from bnblind.pipeline.formats.prepared import read_dataset
from bnblind.pipeline.formats.publishing import SOURCE, publish_figure, source_text
from bnblind.pipeline.options import parse

PER_CLASS = 12


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, word="rule dataset figures", file="prepared")
    os.environ[SOURCE] = source_text(args.rule, {"dataset": args.dataset}, [args.prepared])
    use_style()
    train = read_dataset(args.prepared).train
    figure, drawn = contact_sheet(train.pixels, train.labels, PER_CLASS)
    caption = f"The first {PER_CLASS} training images of each class of {args.dataset}."
    publish_figure(figure, drawn, args.figures, f"data/{args.dataset}", caption)
