"""The Coq sources as text: what they state and prove, and what may not stand in them."""

import re
from collections.abc import Mapping
from pathlib import Path

STATEMENTS = "Statements.v"
LIBRARY = "BNBlind"
# What a source may tell Coq to do. Whatever else begins with a capital letter is refused: it could
# leave a proof open, assume something, switch a check off or change what a statement means.
COMMANDS = {
    *("From", "Open", "Section", "End", "Variables", "Hypothesis", "Let"),
    *("Definition", "Fixpoint", "Lemma", "Theorem", "Proof", "Qed"),
}
# The same, wherever in a sentence they stand.
GAP = re.compile(
    r"\b(Admitted|admit|give_up|Abort|Axioms?|Parameters?|Conjectures?|Context|Primitive|Declare ML"
    r"|Load|Redirect|Drop|Module|Set|Unset|Definitional UIP|bypass_check)\b"
)
# The notations of the sums; no other text in quotes may occur.
NOTATIONS = {
    "Basics.v": (
        'Notation "\\sum_ ( i < n ) F" := (fsum n (fun i => F))',
        'Notation "\\mean_ ( i < n ) F" := (mean n (fun i => F))',
    )
}


class Refused(Exception):
    """The proofs do not pass; the message says what was found."""


def without_comments(text: str) -> str:
    """Coq source without its comments, which nest. Of sources without text in quotes only: Coq
    sees no comment begin or end there.
    """
    depth, kept = 0, []
    for part in re.split(r"(\(\*|\*\))", text):
        if part == "(*":
            depth += 1
        elif part == "*)" and depth:
            depth -= 1
        elif not depth:
            kept.append(part)
    return " ".join(kept)


def sentences(text: str) -> list[str]:
    """The sentences of a source, without comments, each on one line and without the full stop."""
    parts = re.split(r"\.(?:\s+|$)", without_comments(text))
    return [line for part in parts if (line := " ".join(part.split()))]


def gaps(file: str, text: str) -> list[str]:
    """What in a source leaves a proof open, weakens a check or is not known to be harmless."""
    for notation in NOTATIONS.get(file, ()):
        text = text.replace(notation, "Definition")
    if '"' in text:
        return ["text in quotes"]
    found = GAP.findall(without_comments(text))
    sections = 0
    for sentence in sentences(text):
        # Bullets, braces and goal selectors stand before a sentence without a full stop.
        begin = re.sub(r"^(?:[-+*{}\s]|[\w\[\],-]+\s*:\s*(?={))*", "", sentence)
        command = begin.split(" ", 1)[0]
        sections += {"Section": 1, "End": -1}.get(command, 0)
        outside = command in ("Variables", "Hypothesis") and not sections
        if re.match(r"[A-Z#]", command) and (command not in COMMANDS or outside):
            found.append(sentence[:60])
    return found


def definitions(text: str) -> dict[str, str]:
    """Name -> its whole ``Definition``, on one line."""
    matches = [(re.match(r"Definition (\w+)", line), line) for line in sentences(text)]
    return {match[1]: line for match, line in matches if match}


def statements(text: str) -> dict[str, str]:
    """Name -> proposition, for each ``Definition NAME : Prop := proposition``.

    Raises:
        Refused: a sentence is neither that nor an import nor a scope, or a name comes twice.
    """
    found: dict[str, str] = {}
    for line in sentences(text):
        match = re.fullmatch(r"Definition (\w+) : Prop := (.*)", line)
        if match and match[1] not in found:
            found[match[1]] = match[2]
        elif match or not re.fullmatch(r"From \w+ Require Import [\w ]+|Open Scope R_scope", line):
            raise Refused(f"{STATEMENTS} may hold propositions only; found {line[:60]!r}")
    return found


def proofs(texts: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Name -> (file, proof script), for each ``Theorem NAME_holds : NAME.``.

    Raises:
        Refused: a statement has no proof or several, or a proof no statement.
    """
    stated, found = statements(texts[STATEMENTS]), {}
    for file, text in texts.items():
        for name, proposition, script in re.findall(
            r"\bTheorem (\w+)_holds : (\w+)\.\s+(Proof\..*?\bQed\.)",
            without_comments(text),
            re.DOTALL,
        ):
            if name != proposition or name not in stated or name in found:
                raise Refused(f"{file}: {name}_holds : {proposition} has no statement of its own")
            found[name] = (file, script)
    if missing := stated.keys() - found:
        raise Refused(f"without proof: {', '.join(sorted(missing))}")
    return {name: found[name] for name in stated}


def imports(text: str) -> list[str]:
    """The files of this folder that a source needs itself."""
    found = re.findall(rf"From {LIBRARY} Require (?:Import|Export) ([\w ]+)\.", text)
    return [f"{module}.v" for modules in found for module in modules.split()]


def needed(file: str, texts: Mapping[str, str]) -> set[str]:
    """``file`` and all that it needs."""
    return {file}.union(*(needed(other, texts) for other in imports(texts[file])))


def read_sources(folder: Path) -> dict[str, str]:
    """File -> text in the order of ``_CoqProject``.

    Raises:
        Refused: the order leaves a source out, or a source holds a gap.
    """
    order = re.findall(r"^\w+\.v$", (folder / "_CoqProject").read_text(), re.MULTILINE)
    if odd := {*order} ^ {path.name for path in folder.glob("*.v")}:
        raise Refused(f"_CoqProject and folder differ in {', '.join(sorted(odd))}")
    texts = {file: (folder / file).read_text() for file in order}
    for file, text in texts.items():
        if found := gaps(file, text):
            raise Refused(f"{file}: {', '.join(found)}")
    return texts
