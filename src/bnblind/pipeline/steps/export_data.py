"""Step: a raw file of a data set from its source into data/raw, its content checked."""

from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.options import parse
from bnblind.pipeline.sources import obtain


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, word="dataset", settings="registered", file="raw")
    content, place = obtain(args.dataset, args.raw.name, args.registered, str(args.raw))
    publish({args.raw: content})
    print(f"{args.raw}: {len(content)} bytes, as registered, from {place}")
