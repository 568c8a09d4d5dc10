"""Start a step under pinned numerics. Nothing numerical may be imported before the pin."""

import argparse
import fcntl
import gc
import json
import os
import resource
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TextIO

from bnblind import numerics
from bnblind.errors import BadInput, Diverged
from bnblind.pipeline import steps

JOBS = Path(".snakemake/bnblind-jobs.lock")
"""scripts/run.py waits until no job holds it."""


def _usage() -> tuple[float, float]:
    """CPU seconds, and megabytes at the peak, of this process and the children that it has waited
    for, such as a notebook's kernel.
    """
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return seconds, max(own.ru_maxrss, children.ru_maxrss) / 1024  # from kilobytes


def at_work() -> TextIO:
    """The lock that tells the next run in this folder that a job of an earlier one is at work, held
    until it is closed; an empty one where no run keeps its state.
    """
    file = (JOBS if JOBS.parent.is_dir() else Path(os.devnull)).open("a")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bnblind.pipeline",
        description="Run a step of the pipeline; STEP --help shows its options.",
        add_help=argv[:1] in ([], ["-h"], ["--help"]),
    )
    parser.add_argument("step", choices=[module.name for module in iter_modules(steps.__path__)])
    parser.add_argument(
        "--numerics",
        nargs=2,
        metavar=("MODE", "THREADS"),
        default=(numerics.DEFAULT, "1"),
        help="how numbers are computed (default: %(default)s)",
    )
    known, rest = parser.parse_known_args(argv)
    mode, threads = known.numerics
    if not threads.isdecimal():
        parser.error(f"THREADS must be a number; found {threads!r}")
    try:
        with at_work():
            numerics.pin(mode, int(threads))
            # Importing makes much and drops little: collecting garbage takes a sixth of its time.
            gc.disable()
            step = import_module(f"bnblind.pipeline.steps.{known.step}")
            gc.enable()
            numerics.check(mode, int(threads))
            startup, _ = _usage()
            earlier = step.main(rest) or 0.0  # seconds of interrupted processes, where it knows
            seconds, peak = _usage()
            used = {"cpu_seconds": earlier + seconds, "startup_seconds": startup, "peak_mb": peak}
            rounded = {name: round(value, 2) for name, value in used.items()}
            print(f"usage: {json.dumps({'numerics': mode, **rounded})}")
            gc.freeze()  # or the interpreter, ending, looks through all that torch made
    except (BadInput, Diverged) as error:
        raise SystemExit(f"error: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        place = f"{error.filename}: " if error.filename else ""
        raise SystemExit(f"error: {place}{reason}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
