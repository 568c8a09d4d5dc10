"""Check the proofs from scratch: no gap, the expected axioms, and mutations that must fail.

    python3 proofs/check.py [--coqchk] [--record FILE]

Needs Coq with Coquelicot, and nothing of Python 3.11 but its standard library. Everything is
compiled in a temporary folder. ``--coqchk`` has Coq's independent checker read the compiled proofs
again; ``--record`` writes the theorems to FILE as JSON, the same bytes for the same sources.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:
    sys.exit(f"error: the check needs Python 3.11 or newer; {sys.executable} is older")

HERE = Path(__file__).parent
STATEMENTS = "Statements.v"
LIBRARY = "BNBlind"
# Those behind Coq's real numbers; nothing else may be assumed.
AXIOMS = {
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
}
# coqchk lists what is loaded: this one comes with Coquelicot, and no theorem rests on it.
LOADED = {"Classical_Prop.classic"}
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
CHECKED_BY = ("check.py", "mutations.toml", "_CoqProject")
RENEW = "snakemake --cores 2 proofs && cp data/results/proofs.json proofs/record.json"
INSTALL = (
    "Coq 8.16 and Coquelicot 3.2 (Debian 12: "
    "apt-get install --no-install-recommends coq libcoq-coquelicot)"
)
SECONDS = 300  # for one file; one is usual


class Refused(Exception):
    """The proofs do not pass; the message says what was found."""


@dataclass(frozen=True)
class Theorem:
    """One proved statement, as the record lists it."""

    name: str
    file: str
    """The file that proves it."""
    statement: str
    """The proposition, without comments, on one line."""
    sha256: str
    """Of ``statement``."""
    axioms: tuple[str, ...]


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


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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


def coqc(folder: Path, file: str) -> subprocess.CompletedProcess[str]:
    """Compile one file of ``folder``; its imports are compiled there already."""
    return subprocess.run(
        ["coqc", "-q", "-w", "-ambiguous-paths", "-Q", ".", LIBRARY, file],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def compiled(folder: Path, file: str, text: str) -> str:
    """Write and compile a source; what Coq printed. Raises Refused with Coq's first lines."""
    (folder / file).write_text(text)
    run = coqc(folder, file)
    if run.returncode:
        raise Refused(f"{file} does not compile: {' '.join(run.stderr.split())[:500]}")
    return run.stdout


def compile_all(folder: Path, texts: Mapping[str, str], pool: ThreadPoolExecutor) -> None:
    """Compile every source after its imports, others at the same time."""
    done: dict[str, Future[str]] = {}

    def compile_one(file: str) -> str:
        for other in imports(texts[file]):
            done[other].result()
        return compiled(folder, file, texts[file])

    for file in texts:  # in order, so that whatever a job waits for has begun
        done[file] = pool.submit(compile_one, file)
    for job in done.values():
        job.result()


def assumptions(printed: str) -> list[set[str]]:
    """The axioms that each ``Print Assumptions`` lists, in order.

    Raises:
        Refused: a line says anything else, such as ``f is assumed to be guarded.``
    """
    found: list[set[str]] = []
    for line in printed.splitlines():
        if line in ("Axioms:", "Closed under the global context"):
            found.append(set())
        elif found and (match := re.fullmatch(r"([\w.']+)(?: :.*)?", line)):
            found[-1].add(match[1])
        elif not (found and line.startswith("  ")):  # the type of an axiom goes on, indented
            raise Refused(f"Print Assumptions: {line}")
    return found


def require_summary(printed: str) -> None:
    """Raises Refused if coqchk's context summary holds an unexpected axiom or an unsafe thing."""
    _, _, summary = printed.partition("CONTEXT SUMMARY")
    found = {
        name.strip(): {*listed.split()}
        for name, listed in re.findall(r"^\* (.*?):(.*?)(?=^\*|\Z)", summary, re.M | re.S)
    }
    nothing = {"<none>"}
    axioms = {re.sub(r"^Coq\.\w+\.", "", name) for name in found.pop("Axioms", nothing)}
    wanted = {
        "Theory": {"Set", "is", "predicative"},
        "Constants/Inductives relying on type-in-type": nothing,
        "Constants/Inductives relying on unsafe (co)fixpoints": nothing,
        "Inductives whose positivity is assumed": nothing,
    }
    if found != wanted or not axioms <= AXIOMS | LOADED | nothing:
        raise Refused(f"coqchk: {' '.join(summary.split())[:500]}")


def print_assumptions(texts: Mapping[str, str], sets: Iterable[Iterable[str]]) -> str:
    """A source that prints the axioms of each set of theorems together."""
    proved = proofs(texts)
    lines = [f"From {LIBRARY} Require {' '.join(file.removesuffix('.v') for file in texts)}."]
    for number, names in enumerate(sets):
        # The proof is of the proposition in Statements.v, not of another of the same name.
        typed = [
            f"({LIBRARY}.{proved[name][0].removesuffix('.v')}.{name}_holds"
            f" : {LIBRARY}.Statements.{name})"
            for name in names
        ]
        lines += [
            f"Definition set_{number} := ({', '.join(typed)}).",
            f"Print Assumptions set_{number}.",
        ]
    return "\n".join(lines) + "\n"


def require_axioms(folder: Path, texts: Mapping[str, str]) -> None:
    """Raises Refused if the theorems together rest on other axioms than the expected ones."""
    source = print_assumptions(texts, [proofs(texts)])
    if (found := assumptions(compiled(folder, "All.v", source))) != [AXIOMS]:
        raise Refused(f"expected the axioms {sorted(AXIOMS)}; found {found}")


def list_theorems(
    folder: Path, texts: Mapping[str, str], pool: ThreadPoolExecutor, jobs: int
) -> list[Theorem]:
    """Every theorem with the axioms of its own; half a second each, so only for the record."""
    stated, proved = statements(texts[STATEMENTS]), proofs(texts)

    def own(job: int) -> list[tuple[str, set[str]]]:
        names = [*stated][job::jobs]
        source = print_assumptions(texts, [[name] for name in names])
        printed = compiled(folder, f"Own{job}.v", source)
        return [*zip(names, assumptions(printed), strict=True)]

    axioms = dict(pair for pairs in pool.map(own, range(jobs)) for pair in pairs)
    return [
        Theorem(name, proved[name][0], body, sha256(body), tuple(sorted(axioms[name])))
        for name, body in stated.items()
    ]


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


def run_coqchk(folder: Path, texts: Mapping[str, str]) -> None:
    """Raises Refused if Coq's second checker finds anything in the compiled sources."""
    modules = [f"{LIBRARY}.{file.removesuffix('.v')}" for file in texts]
    run = subprocess.run(
        ["coqchk", "-o", "-Q", ".", LIBRARY, *modules],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise Refused(f"coqchk: {' '.join(run.stderr.split())[-500:]}")
    require_summary(run.stdout + run.stderr)


def check(texts: Mapping[str, str], with_coqchk: bool, with_list: bool) -> list[Theorem]:
    """Compile and check everything; the theorems, if a list of them is asked for."""
    stated, cores = statements(texts[STATEMENTS]), len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(cores) as pool:
        folder = Path(name)
        compile_all(folder, texts, pool)
        first = [require_axioms, run_coqchk] if with_coqchk else [require_axioms]
        jobs = [pool.submit(job, folder, texts) for job in first]
        jobs += [
            pool.submit(try_statement, folder, texts, number, mutation)
            if mutation.of in stated
            else pool.submit(try_definition, folder, texts, mutation)
            for number, mutation in enumerate(read_mutations(HERE))
        ]
        for job in jobs:
            job.result()
        return list_theorems(folder, texts, pool, cores) if with_list else []


def hashes(texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The SHA-256 of every source, and of the files that say how they are checked."""
    return {
        "sources": {file: sha256(text) for file, text in texts.items()},
        "checked_by": {file: sha256((HERE / file).read_text()) for file in CHECKED_BY},
    }


def record(texts: Mapping[str, str], theorems: Iterable[Theorem]) -> str:
    """The theorems and the hashes of all files as JSON."""
    listed = {"theorems": [asdict(theorem) for theorem in theorems], **hashes(texts)}
    return json.dumps(listed, indent=1, ensure_ascii=True) + "\n"


def is_of(published: Path, texts: Mapping[str, str]) -> bool:
    """Whether a record is of these sources and of this check."""
    try:
        listed = json.loads(published.read_text())
        return {key: listed[key] for key in hashes(texts)} == hashes(texts)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def require_coq() -> str:
    """Coq's version. Raises Refused where Coq or Coquelicot is missing."""
    if not shutil.which("coqc"):
        raise Refused(f"coqc was not found; the proofs need {INSTALL}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Probe.v").write_text("From Coquelicot Require Coquelicot.\n")
        if coqc(folder, "Probe.v").returncode:
            raise Refused(f"coqc does not find Coquelicot; the proofs need {INSTALL}")
    run = subprocess.run(["coqc", "--print-version"], capture_output=True, text=True, check=False)
    return f"Coq {run.stdout.split(' ', 1)[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coqchk", action="store_true", help="also run Coq's second checker")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write the theorems as JSON")
    asked = parser.parse_args()
    try:
        coq = require_coq()
        texts = read_sources(HERE)
        theorems = check(texts, asked.coqchk, bool(asked.record))
    except (Refused, subprocess.TimeoutExpired) as error:
        sys.exit(f"error: {error}")
    if asked.record:
        asked.record.parent.mkdir(parents=True, exist_ok=True)
        partial = asked.record.with_name(asked.record.name + ".partial")
        partial.write_text(record(texts, theorems))
        os.replace(partial, asked.record)
    print(
        f"{coq}: {len(proofs(texts))} theorems proved from the axioms of Coq's reals; "
        f"{len(read_mutations(HERE))} mutations rejected"
        f"{'; coqchk agrees' if asked.coqchk else ''}"
    )
    if not is_of(HERE / "record.json", texts):
        print(f"proofs/record.json is not of these sources; to renew it: {RENEW}")


if __name__ == "__main__":
    main()
