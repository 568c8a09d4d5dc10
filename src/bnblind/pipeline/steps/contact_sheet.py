"""Step: a figure of the training images of a prepared data set."""

import argparse
from pathlib import Path

from bnblind.figures.data import contact_sheet
from bnblind.figures.style import use_style
from bnblind.pipeline.formats.prepared import read_dataset
from bnblind.pipeline.formats.publishing import publish_figure

PER_CLASS = 12


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="contact_sheet", description=__doc__)
    parser.add_argument("--dataset", required=True, help="name, for the caption")
    parser.add_argument("--prepared", type=Path, required=True, help="data set to read")
    parser.add_argument("--figures", required=True, help="folder of the report's figures")
    args = parser.parse_args(argv)
    use_style()
    train = read_dataset(args.prepared).train
    figure, drawn = contact_sheet(train.images, train.labels, PER_CLASS)
    caption = f"The first {PER_CLASS} training images of each class of {args.dataset}."
    publish_figure(figure, drawn, args.figures, f"data/{args.dataset}", caption)
