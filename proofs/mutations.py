"""False variants of the statements and definitions, which no proof may survive."""

import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coq import compiled, coqc
from sources import (
    LIBRARY,
    STATEMENTS,
    Refused,
    definitions,
    needed,
    proofs,
    statements,
    without_comments,
)

try:
    import tomllib
except ModuleNotFoundError:
    sys.exit(f"error: the check needs Python 3.11 or newer; {sys.executable} is older")


@dataclass(frozen=True)
class Mutation:
    """A change of one statement or definition after which a proof must fail."""

    of: str
    """The statement or definition."""
    old: str
    new: str
    reason: str
    """Why the changed statement is wrong."""
    rejected_by: str = ""
    """Of a changed definition: the first file that may not compile any more."""


def read_mutations(folder: Path) -> list[Mutation]:
    listed = tomllib.loads((folder / "mutations.toml").read_text())["mutation"]
    return [Mutation(**entry) for entry in listed]


def mutated(line: str, mutation: Mutation) -> str:
    """``line`` with the one occurrence of the mutation's ``old`` replaced."""
    if line.count(mutation.old) != 1:
        raise Refused(
            f"mutation of {mutation.of}: {mutation.old!r} occurs {line.count(mutation.old)} times"
        )
    return line.replace(mutation.old, mutation.new)


def header(text: str) -> str:
    """The imports and scopes at the head of a source."""
    return "\n".join(re.findall(r"^(?:From|Open Scope) [^.]+\.", without_comments(text), re.M))


def try_statement(folder: Path, texts: Mapping[str, str], number: int, mutation: Mutation) -> None:
    """Run a theorem's own proof on the mutated statement, after a run on the statement itself.

    Raises:
        Refused: the proof goes through, or it is not the proof that fails.
    """
    body = mutated(statements(texts[STATEMENTS])[mutation.of], mutation)
    file, script = proofs(texts)[mutation.of]
    before = (
        f"{header(texts[file])}\nFrom {LIBRARY} Require Import {file.removesuffix('.v')}.\n"
        f"Theorem as_it_is : {mutation.of}.\n{script}\nDefinition mutated : Prop := {body}.\n"
    )
    attempt = f"Attempt{number}.v"
    (folder / attempt).write_text(f"{before}Theorem attempt : mutated.\n{script}\n")
    run = coqc(folder, attempt)
    line = re.search(r'File "[^"]*", line (\d+)', run.stderr)
    if run.returncode == 0:
        raise Refused(f"{mutation.of} is proved also with {mutation.new!r} for {mutation.old!r}")
    if not line or int(line[1]) <= before.count("\n"):
        raise Refused(f"mutation of {mutation.of}: {' '.join(run.stderr.split())[:500]}")


def try_definition(folder: Path, texts: Mapping[str, str], mutation: Mutation) -> None:
    """Compile what needs the mutated definition, up to the file that must reject it.

    Raises:
        Refused: that file compiles, or one before it does not.
    """
    (changed,) = [file for file, text in texts.items() if mutation.of in definitions(text)]
    line = mutated(definitions(texts[changed])[mutation.of], mutation)
    others = re.sub(
        rf"Definition {mutation.of}\b.*?\.(?=\s)",
        lambda _: f"{line}.",
        without_comments(texts[changed]),
        count=1,
        flags=re.DOTALL,
    )
    texts = {**texts, changed: others}
    again = [
        file
        for file in texts
        if file in needed(mutation.rejected_by, texts) and changed in needed(file, texts)
    ]
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for file in texts:
            shutil.copy(folder / f"{file}o", copy)
        for file in again[:-1]:
            compiled(copy, file, texts[file])
        (copy / again[-1]).write_text(texts[again[-1]])
        if coqc(copy, again[-1]).returncode == 0:
            raise Refused(
                f"{mutation.rejected_by} compiles also with {mutation.new!r} for "
                f"{mutation.old!r} in {mutation.of}"
            )
