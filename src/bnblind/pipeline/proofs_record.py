"""What Coq proved: the record of the last check of ``proofs/``, and whether it is of the sources
as they are.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bnblind.errors import BadInput, unknown

RECORD = Path("proofs/record.json")
PROVED = "proved in Coq"


@dataclass(frozen=True)
class Proofs:
    """The theorems of a record, and the files that are not as they were when Coq checked them."""

    theorems: tuple[str, ...]
    changed: tuple[str, ...]

    def standing(self, names: Iterable[str]) -> str:
        """``proved in Coq``, or why that cannot be said of these theorems.

        Raises:
            BadInput: the record lists no theorem of such a name.
        """
        for name in names:
            if name not in self.theorems:
                raise unknown("theorem", name, self.theorems)
        if self.changed:
            return f"not known to be proved: {', '.join(self.changed)} changed since Coq's check"
        return PROVED


def read_proofs(record: Path = RECORD) -> Proofs:
    """The record, held against the Coq sources beside it and what checked them.

    Raises:
        BadInput: there is no such file, or it is no record.
    """
    try:
        listed = json.loads(record.read_text(encoding="utf-8"))
        theorems = tuple(theorem["name"] for theorem in listed["theorems"])
        checked = {**listed["sources"], **listed["checked_by"]}
    except FileNotFoundError as error:
        raise BadInput(f"there is no record of the proofs, {record}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{record} is no record of proofs: {error!r}") from error
    files = [*record.parent.glob("*.v"), *(record.parent / name for name in listed["checked_by"])]
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()
    }
    changed = {name for name, _ in checked.items() ^ found.items()}
    return Proofs(theorems, tuple(sorted(changed)))
