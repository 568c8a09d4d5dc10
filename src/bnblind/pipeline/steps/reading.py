"""Step: pages to read along: the glossary, and T4 to try."""

from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.pages import fill
from bnblind.pipeline.formats.prose import glossary_of
from bnblind.pipeline.options import parse
from bnblind.probe_figures import SHARES


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, file="terms glossary explorable")
    body, contents, _ = glossary_of(args.terms.read_text(encoding="utf-8"))
    glossary = fill("glossary.html.j2", body=body, contents=contents)
    colors = {name: color for name, (_, color) in SHARES.items()}
    explorable = fill("explore.html.j2", colors=colors)
    publish({args.glossary: glossary, args.explorable: explorable})
