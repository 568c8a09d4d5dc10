"""Running Coq on the sources, and reading all that it says of them."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from sources import LIBRARY, Refused, imports, proofs

# Those behind Coq's real numbers; nothing else may be assumed.
AXIOMS = {
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
}
# coqchk lists what is loaded: this one comes with Coquelicot, and no theorem rests on it.
LOADED = {"Classical_Prop.classic"}
INSTALL = (
    "Coq 8.16 and Coquelicot 3.2 (Debian 12: "
    "apt-get install --no-install-recommends coq libcoq-coquelicot)"
)
SECONDS = 300  # for one run; a few are usual


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


def run_coqchk(folder: Path, texts: Mapping[str, str]) -> None:
    """Raises Refused if Coq's second checker finds anything in the compiled sources."""
    modules = [f"{LIBRARY}.{file.removesuffix('.v')}" for file in texts]
    run = subprocess.run(
        ["coqchk", "-o", "-Q", ".", LIBRARY, *modules],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if run.returncode:
        raise Refused(f"coqchk: {' '.join(run.stderr.split())[-500:]}")
    require_summary(run.stdout + run.stderr)


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
