"""What Coq proved: the record of the last check of ``proofs/``, and whether it is of the sources
as they are.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bnblind.errors import BadInput, unknown

RECORD = Path("proofs/record.json")
STATEMENTS = "Statements.v"
CHECKED = ("*.v", "*.py", "mutations.toml", "_CoqProject")  # what a record is of
PROVED = "proved in Coq"


@dataclass(frozen=True)
class Proofs:
    """The theorems of a record by name, as Coq states them, and the files that are not as they were
    when it checked them.
    """

    theorems: Mapping[str, str]
    changed: tuple[str, ...]

    def standing(self, names: Iterable[str]) -> str:
        """``proved in Coq``, or why that cannot be said of these theorems; raises BadInput if the
        record lists no theorem of such a name.
        """
        for name in names:
            if name not in self.theorems:
                raise unknown("theorem", name, self.theorems)
        if self.changed:
            return f"not known to be proved: {', '.join(self.changed)} changed since Coq's check"
        return PROVED


def read_proofs(record: Path = RECORD) -> Proofs:
    """The record, held against the Coq sources beside it and what checked them. Raises BadInput if
    there is no such file, or it is not a record, or it lists what is not stated so.
    """
    folder = record.parent
    try:
        listed = json.loads(record.read_text(encoding="utf-8"))
        theorems = {theorem["name"]: theorem["statement"] for theorem in listed["theorems"]}
        checked = {**listed["sources"], **listed["checked_by"]}
    except FileNotFoundError as error:
        raise BadInput(f"there is no record of the proofs, {record}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{record} is not a record of proofs: {error!r}") from error
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in CHECKED
        for path in folder.glob(pattern)
    }
    changed = sorted({name for name, _ in checked.items() ^ found.items()})
    if not changed:
        stated = " ".join((folder / STATEMENTS).read_text(encoding="utf-8").split())
        for name, statement in theorems.items():
            if f"Definition {name} : Prop := {statement}. " not in f"{stated} ":
                raise BadInput(f"{record}: {STATEMENTS} does not state {name} as it is listed")
    return Proofs(theorems, (*changed,))
