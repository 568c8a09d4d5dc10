"""Kill the smoke run at random points, repeat it once, and compare every byte.

    python scripts/faults.py FOLDER [TRIES]

Each kind of fault is tried until TRIES (10) of it hit. A try hits if the process was alive and is
dead of it, and the run did not finish. FOLDER is for the clones. What was tried is kept in
docs/faults.json, so that the script, called again, goes on where it was; docs/faults.md sums it up.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from clones import commit, fresh_clone, hashes

SMOKE = ("--cores", "all", "--configfile", "config/smoke.yaml")
DOCUMENT, STATE = Path("docs/faults.md"), Path("docs/faults.json")
PATIENCE = 900
"""Seconds that a run may take."""


@dataclass(frozen=True)
class Try:
    """A fault and what became of it.

    Attributes:
        commit: of the code.
        finished: jobs that had finished by then.
        hit: it died of it, and the run did not finish.
        repeated: the exit code of the one repetition.
        differing: files that are not as an uninterrupted run leaves them.
    """

    kind: str
    seed: int
    commit: str
    finished: int
    hit: bool
    repeated: int
    differing: tuple[str, ...]


def start(clone: Path, options: Sequence[str]) -> "subprocess.Popen[bytes]":
    """The pipeline in the clone, in a process group of its own, as a terminal would have it."""
    environment = {**os.environ, "PYTHONPATH": "src"}
    with (clone / "printed").open("ab") as printed:
        return subprocess.Popen(
            [sys.executable, "scripts/run.py", *options],
            cwd=clone,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def finished_jobs(root: Path) -> int:
    return sum(
        "usage: " in log.read_text(errors="replace") for log in (root / "logs").rglob("*.log")
    )


STEP, SNAKEMAKE = "bnblind.pipeline", "snakemake"


def below(run: "subprocess.Popen[bytes]", program: str) -> psutil.Process | None:
    """The first process of the run that is of this program: of a module or a script of that name.
    A shell that calls it has the name within a longer word.
    """
    try:
        for process in psutil.Process(run.pid).children(recursive=True):
            if program in (word.rpartition("/")[2] for word in process.cmdline()):
                return process
    except psutil.NoSuchProcess:
        pass
    return None


def _one(program: str) -> Callable[["subprocess.Popen[bytes]"], psutil.Process | None]:
    def kill(run: "subprocess.Popen[bytes]") -> psutil.Process | None:
        if process := below(run, program):
            process.kill()
        return process

    return kill


def _all(number: signal.Signals) -> Callable[["subprocess.Popen[bytes]"], psutil.Process | None]:
    def kill(run: "subprocess.Popen[bytes]") -> psutil.Process | None:
        if process := below(run, SNAKEMAKE):
            os.killpg(run.pid, number)
        return process

    return kill


KINDS = {
    "SIGKILL of a step": _one(STEP),
    "SIGKILL of Snakemake alone": _one(SNAKEMAKE),
    "SIGKILL of the process group": _all(signal.SIGKILL),
    "Ctrl-C": _all(signal.SIGINT),
}


def point(kind: str, seed: int, jobs: int) -> tuple[int, float]:
    """After how many finished jobs, fewer than ``jobs``, and after how many seconds more."""
    draw = random.Random(f"{kind} {seed}")
    return draw.randrange(jobs), draw.uniform(0, 3)


def attempt(
    kind: str, seed: int, clone: Path, root: Path, options: Sequence[str], expected: dict[str, str]
) -> Try:
    """One fault, in the clone, at the :func:`point` that the seed draws; then one repetition.

    Args:
        root: where the run's data, reports and logs lie.
        options: for Snakemake.
        expected: the hashes of an uninterrupted run.
    """
    jobs, pause = point(kind, seed, max(1, len(expected) // 6))
    run = start(clone, options)
    deadline = time.monotonic() + PATIENCE
    while run.poll() is None and finished_jobs(root) < jobs and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(pause)
    process, dead = None, False
    while run.poll() is None and process is None and time.monotonic() < deadline:
        process = KINDS[kind](run)
    done = finished_jobs(root)
    if process is not None:
        _, alive = psutil.wait_procs([process], timeout=60)
        dead = not alive
    code = run.wait(timeout=PATIENCE)
    repeated = start(clone, options).wait(timeout=PATIENCE)
    found = hashes(root)
    differing = sorted(name for name, _ in found.items() ^ expected.items())
    hit, names = dead and code != 0, tuple(dict.fromkeys(differing))
    return Try(kind, seed, commit(), done, hit, repeated, names)


def table(tries: Sequence[Try]) -> str:
    """The document: of each kind the tries that hit, those that the repetition mended."""
    lines = [
        "# Faults",
        "",
        "`make faults` kills the smoke run at random points and then calls it once more, with no",
        "step by hand in between. A try counts if the process was alive when the fault came, died",
        "of it, and the run had not finished. It survives if the repetition exits with 0 and every",
        "file below `data/` and `reports/` has the bytes of an uninterrupted run.",
        "",
        "| fault | tries that hit | survived | differing files | tries that missed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        own = [one for one in tries if one.kind == kind]
        hits = [one for one in own if one.hit]
        survived = sum(one.repeated == 0 and not one.differing for one in hits)
        differing = sum(len(one.differing) for one in hits)
        lines.append(
            f"| {kind} | {len(hits)} | {survived} | {differing} | {len(own) - len(hits)} |"
        )
    commits = ", ".join(dict.fromkeys(one.commit for one in tries))
    return "\n".join([*lines, "", f"Commits: {commits}.", ""])


def uninterrupted(folder: Path) -> dict[str, str]:
    """The hashes of a run of this commit that nothing interrupts; run once."""
    kept = folder / f"uninterrupted-{commit()}.json"
    if not kept.exists():
        whole = fresh_clone(folder / "uninterrupted")
        if code := start(whole, SMOKE).wait(timeout=PATIENCE):
            raise SystemExit(f"error: the uninterrupted run failed with {code}: {whole}/printed")
        kept.write_text(json.dumps(hashes(whole / "runs/smoke")))
    found: dict[str, str] = json.loads(kept.read_text())
    return found


def main(folder: Path, number: int = 10) -> None:
    # A shell lets its background jobs ignore Ctrl-C, and with them all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    told = json.loads(STATE.read_text()) if STATE.exists() else []
    tries = [Try(**{**one, "differing": tuple(one["differing"])}) for one in told]
    expected = uninterrupted(folder)
    for count in range(number):
        for kind in KINDS:
            while sum(one.kind == kind and one.hit for one in tries) <= count:
                seed = sum(one.kind == kind for one in tries)
                clone = fresh_clone(folder / "clone")
                tries.append(attempt(kind, seed, clone, clone / "runs/smoke", SMOKE, expected))
                STATE.write_text(json.dumps([asdict(one) for one in tries], indent=1) + "\n")
                DOCUMENT.write_text(table(tries))
                print(tries[-1], flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
