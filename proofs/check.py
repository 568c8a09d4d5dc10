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
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from coq import (
    assumptions,
    compile_all,
    compiled,
    print_assumptions,
    require_axioms,
    require_coq,
    run_coqchk,
)
from mutations import read_mutations, try_definition, try_statement
from sources import STATEMENTS, Refused, proofs, read_sources, statements

HERE = Path(__file__).parent
CHECKED_BY = [*sorted(HERE.glob("*.py")), HERE / "mutations.toml", HERE / "_CoqProject"]
RENEW = "snakemake --cores 2 proofs && cp data/results/proofs.json proofs/record.json"


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


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
        "checked_by": {file.name: sha256(file.read_text()) for file in CHECKED_BY},
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
