"""Step: take over what another profile has published, after comparing it with its record."""

import hashlib
import json
from pathlib import Path

from bnblind.errors import BadInput
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.options import parse


def main(argv: list[str]) -> None:
    """Copy the files ``found`` to the paths ``taken``; raises BadInput if one is not as it was."""
    args = parse(__name__, argv, file="record", files="found taken")
    record, contents = json.loads(args.record.read_bytes()), {}
    for found, taken in zip(args.found, args.taken, strict=True):
        name = Path(found).relative_to(args.record.with_suffix("")).as_posix()
        content = found.read_bytes()
        if hashlib.sha256(content).hexdigest() != record.get(name, {}).get("sha256"):
            raise BadInput(
                f"{found} is not as {args.record} has it; allowed: `git restore {found}`"
            )
        contents[taken] = content
    publish(contents)
    print(f"{len(contents)} files taken over from {args.record}")
