"""Where raw files come from, and how their content is known.

A file is looked for in a folder of your own, then in the sources that ``config/datasets.yaml``
lists for it: an installed package of Python (``package:``) or of Node (``npm:``), a file that a
package of the system installs (``file:``), an address (``https:``); before the first address among
what DVC tracks. Whatever gives it, its content must have the registered hash.
"""

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput

FOLDER = "BNBLIND_DATA_DIR"
"""Environment variable that names the user's own folder."""
TRIES = 3
GZIP = b"\x1f\x8b"


class Missing(Exception):
    """A source does not have the file; says why."""


def content_of(name: str, raw: bytes) -> bytes:
    """Uncompressed if ``raw`` is gzip and ``name`` does not say so."""
    if not raw.startswith(GZIP) or name.endswith(".gz"):
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise Missing(f"the compressed file is damaged or cut off ({error})") from error


def fault(content: bytes, entry: Mapping[str, Any]) -> str:
    """What tells ``content`` from the registered one; empty if nothing."""
    kind = "sha256" if "sha256" in entry else "md5"
    found = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
    if found == entry[kind]:
        return ""
    page = content.lstrip()[:1] == b"<"
    return (
        f"{kind} is {found}, expected {entry[kind]}; {len(content)} bytes, expected "
        f"{entry['bytes']}" + ("; it is a web page" if page else "")
    )


def _of_package(place: str) -> bytes:
    module, _, file = place.rpartition("/")
    package, *folders = module.split(".")
    spec = find_spec(package)  # imports nothing
    for root in (spec and spec.submodule_search_locations) or ():
        if (found := Path(root, *folders, file)).is_file():
            return found.read_bytes()
    raise Missing(f"no installed package {package} holds {'/'.join([*folders, file])}")


def _of_node(place: str) -> bytes:
    roots = ["node_modules", *os.environ.get("NODE_PATH", "").split(os.pathsep)]
    for root in filter(None, [*roots, "/usr/local/lib/node_modules", "/usr/lib/node_modules"]):
        if (found := Path(root, place)).is_file():
            return found.read_bytes()
    raise Missing(f"no package of npm holds {place}")


def _of_file(place: str) -> bytes:
    if not Path(place).is_file():
        raise Missing(f"there is no {place}")
    return Path(place).read_bytes()


def _of_address(address: str) -> bytes:
    import pooch  # here only: most runs load nothing from afar
    from requests import RequestException

    with tempfile.TemporaryDirectory() as folder:
        store = pooch.create(
            folder,
            base_url="",
            registry={"raw": None},
            urls={"raw": address},
            retry_if_failed=TRIES - 1,
        )
        loader = pooch.HTTPDownloader(timeout=30)
        try:
            return Path(store.fetch("raw", downloader=loader)).read_bytes()
        except (RequestException, ValueError, OSError) as error:
            raise Missing(f"not loaded: {' '.join(str(error).split())}") from error


KINDS: dict[str, Callable[[str], bytes]] = {
    "package": _of_package,
    "npm": _of_node,
    "file": _of_file,
    "https": lambda place: _of_address(f"https:{place}"),
    "http": lambda place: _of_address(f"http:{place}"),
}


def fetch(source: str) -> bytes:
    """The raw bytes behind ``source``; raises Missing if it has none, BadInput if it is of no known
    kind.
    """
    kind, _, place = source.partition(":")
    if kind not in KINDS:
        raise BadInput(f"unknown source {source!r}; allowed: {', '.join(KINDS)}, each with a colon")
    return KINDS[kind](place)


def set_own_folder(found: Any) -> None:
    """Look into the folder that the configuration names as ``data_dir``; BadInput if it is none."""
    if not (isinstance(found, str) and Path(found).is_dir()):
        raise BadInput(f"data_dir: found {found!r}; allowed: the path of a folder")
    os.environ[FOLDER] = found


def _own_folder(dataset: str, file: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    if not Path(folder).is_dir():
        raise BadInput(f"{FOLDER} names {folder!r}, which is no folder")
    for place in (Path(folder, dataset, file), Path(folder, file)):
        for path in (place, place.with_name(f"{file}.gz")):
            if path.is_file():
                yield str(path), path.read_bytes


def _tracked(path: str) -> bytes:
    """From DVC's cache or its remote."""
    if not Path(".dvc").is_dir():
        raise Missing("nothing here is tracked by DVC")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "raw")
        words = ("get", "--quiet", ".", path, "--out", str(target))
        command = [sys.executable, "-m", "dvc", *words]
        run = subprocess.run(command, capture_output=True, check=False)
        if run.returncode or not target.is_file():
            raise Missing(f"DVC has no {path}")
        return target.read_bytes()


def obtain(dataset: str, file: str, entry: Mapping[str, Any], tracked: str) -> tuple[bytes, str]:
    """The content of a raw file that the registry has as ``entry`` and DVC may track at the path
    ``tracked``, and where it was found. If no source has the registered content, the BadInput says
    what each had, and which file to put where.
    """
    own = [*_own_folder(dataset, file)]
    places: list[tuple[str, Callable[[], bytes]]] = list(own)
    if not own:  # what the user names is taken or refused, not passed over
        known = [(source, partial(fetch, source)) for source in entry["sources"]]
        afar = [place for place in known if place[0].startswith("http")]
        near = [place for place in known if place not in afar]
        places += [*near, ("dvc", partial(_tracked, tracked)), *afar]
    reasons = []
    for place, read in places:
        try:
            content = content_of(file, read())
            if not (reason := fault(content, entry)):
                return content, place
        except Missing as error:
            reason = str(error)
        reasons.append(f"{place}: {reason}")
    kind = "sha256" if "sha256" in entry else "md5"
    raise BadInput(
        f"{dataset}: {file} could not be had:\n  "
        + "\n  ".join(reasons)
        + f"\n  put the file ({entry['bytes']} bytes, {kind} {entry[kind]}; gzipped as {file}.gz "
        f"is as good) into a folder and name the folder by {FOLDER} or data_dir"
    )
