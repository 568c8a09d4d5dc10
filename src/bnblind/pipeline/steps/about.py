"""Step: the page that says how the results came about."""

import argparse
import base64
import json
from pathlib import Path

import yaml

from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.pages import fill
from bnblind.pipeline.formats.publishing import readable_width


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="about", description=__doc__)
    parser.add_argument("--settings", type=json.loads, required=True, help="whole configuration")
    parser.add_argument("--graph", type=Path, required=True, help="picture of the rules")
    parser.add_argument("--page", type=Path, required=True, help="page to write")
    args = parser.parse_args(argv)
    graph = args.graph.read_bytes()
    page = fill(
        "about.html.j2",
        profile=args.settings["profile"],
        numerics=args.settings["numerics"],
        settings=yaml.safe_dump(args.settings, sort_keys=False, default_flow_style=None, width=96),
        graph=base64.b64encode(graph).decode(),
        readable=readable_width(graph),
    )
    publish({args.page: page})
