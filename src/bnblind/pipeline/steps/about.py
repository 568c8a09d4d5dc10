"""Step: the page that says how the results came about, and how to cite them."""

import base64

import yaml

from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.pages import fill
from bnblind.pipeline.formats.publishing import readable_width
from bnblind.pipeline.options import parse


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, settings="settings", file="graph citation page")
    graph = args.graph.read_bytes()
    page = fill(
        "about.html.j2",
        profile=args.settings["profile"],
        numerics=args.settings["numerics"],
        settings=yaml.safe_dump(args.settings, sort_keys=False, default_flow_style=None, width=96),
        graph=base64.b64encode(graph).decode(),
        readable=readable_width(graph),
        citation=yaml.safe_load(args.citation.read_text(encoding="utf-8")),
    )
    publish({args.page: page})
