"""Start a step under pinned numerics. Nothing numerical may be imported before the pin."""

import argparse
import gc
import importlib
import resource
import sys

from bnblind import numerics
from bnblind.errors import BadInput, Diverged

STEPS = (
    "about",
    "claims",
    "collect",
    "collect_flows",
    "contact_sheet",
    "derivatives",
    "export_data",
    "features",
    "index",
    "linear_signal",
    "list_weights",
    "notebook",
    "prepare_data",
    "sweep",
    "theorems",
    "train",
    "train_flow",
)


def _cpu_seconds() -> float:
    """Of this process and the children that it has waited for, such as a notebook's kernel."""
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bnblind.pipeline",
        description="Run a step of the pipeline; STEP --help shows its options.",
        add_help=argv[:1] in ([], ["-h"], ["--help"]),
    )
    parser.add_argument("step", choices=STEPS)
    parser.add_argument(
        "--numerics",
        nargs=2,
        metavar=("MODE", "THREADS"),
        default=("portable", "1"),
        help="how numbers are computed (default: portable 1)",
    )
    known, rest = parser.parse_known_args(argv)
    mode, threads = known.numerics
    if not threads.isdecimal():
        parser.error(f"THREADS must be a number; found {threads!r}")
    try:
        numerics.pin(mode, int(threads))
        # Importing makes much and drops little: collecting garbage takes a sixth of its time.
        gc.disable()
        step = importlib.import_module(f"bnblind.pipeline.{known.step}")
        gc.enable()
        numerics.check(mode, int(threads))
        started = _cpu_seconds()
        step.main(rest)
        # Read by benchmarks/pipeline.py.
        print(f"CPU seconds: {_cpu_seconds():.2f}, of them {started:.2f} before the work began")
        gc.freeze()  # or the interpreter, ending, looks through all that torch made
    except (BadInput, Diverged) as error:
        raise SystemExit(f"error: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        place = f"{error.filename}: " if error.filename else ""
        raise SystemExit(f"error: {place}{reason}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
