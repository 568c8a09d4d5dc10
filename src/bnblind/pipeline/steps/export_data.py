"""Step: a data set's raw file from its source into data/raw, checked against its sha256."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from bnblind.errors import BadInput
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.options import parse


def fetch(source: str) -> bytes:
    """The raw bytes behind ``source``, ``package:MODULE/FILE``; raises BadInput for another kind of
    source, or if there is no such package or file.
    """
    kind, _, place = source.partition(":")
    if kind != "package":
        raise BadInput(f"unknown source {source!r}; allowed: package:MODULE/FILE")
    module, _, file = place.rpartition("/")
    package, *folders = module.split(".")
    spec = find_spec(package)  # imports nothing
    for root in (spec and spec.submodule_search_locations) or ():
        if (found := Path(root, *folders, file)).is_file():
            return found.read_bytes()
    raise BadInput(f"{source}: no installed package {package} holds {'/'.join([*folders, file])}")


def verified(name: str, content: bytes, sha256: str, remedy: str = "") -> bytes:
    """``content``, if its hash is the registered one; raises BadInput, with the remedy, if not."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise BadInput(
            f"{name}: sha256 is {found}, expected {sha256}; "
            f"the file was changed or is another version{remedy}"
        )
    return content


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, settings="registered", file="raw")
    entry = args.registered
    content = verified(entry["source"], fetch(entry["source"]), entry["sha256"])
    publish({args.raw: content})
    print(f"{args.raw}: {len(content)} bytes from {entry['source']}, sha256 as registered")
