"""Files that carry the hash of their own bytes, so that a reader can tell an altered one.

The hash is a text inside the file, with safetensors and Parquet in their metadata. It is the
sha256 of the whole file with zeros in the hash's own place.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.pipeline.formats.files import json_bytes

KEY = "seal"
"""Under which the metadata hold the text."""
BLANK = "sha256 with this one as zeros: " + 64 * "0"
_SEAL = re.compile(BLANK.encode().replace(64 * b"0", b"([0-9a-f]{64})"))


def sealed(content: bytes) -> bytes:
    """``content``, which holds ``BLANK`` once, with its hash in that place."""
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(BLANK.encode(), BLANK.replace(64 * "0", digest).encode())


def sealed_json(value: Mapping[str, Any]) -> bytes:
    return sealed(json_bytes({**value, KEY: BLANK}))


def read_sealed_json(path: Path) -> Any:
    """Raises BadInput if the file is not as :func:`sealed_json` made it."""
    check_seal(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} is not a file of JSON: {error}; delete it") from error


def check_seal(path: Path) -> None:
    """Raise BadInput if the file's bytes are not those that its writer sealed."""
    content = path.read_bytes()
    seals = list(_SEAL.finditer(content))
    if len(seals) != 1:
        found = "without the hash that its writer left in it"
    else:
        start, end = seals[0].span(1)
        plain = hashlib.sha256(content[:start])
        plain.update(64 * b"0" + content[end:])
        if plain.hexdigest() == seals[0][1].decode():
            return
        found = "other than the hash that its writer left in it says"
    raise BadInput(
        f"{path} was altered or cut off: found {len(content)} bytes {found}; "
        "delete it and call `make run`, which makes it again"
    )
