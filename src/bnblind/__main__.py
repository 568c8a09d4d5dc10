"""The command ``bnblind``.

A subcommand is a module of ``bnblind.review`` with ``add_arguments(parser)`` and ``run(args)``,
whose own docstring is its help. It imports what is slow to load in ``run`` only.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module

from bnblind import __version__
from bnblind.errors import BadInput, unknown

COMMANDS = {
    "probe": "probe_command",
    **{name: name for name in ("verify", "receipt", "restore", "plan", "whence", "notebook")},
}
"""Subcommand -> module."""


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for; raises BadInput, with the nearest, if there is no such
    subcommand or it has no such option.
    """
    parser = argparse.ArgumentParser(
        prog="bnblind",
        description="Check the reproduction of arXiv:2205.15146, and measure how much of the "
        "gradient batch norm blocks in your own model.",
    )
    parser.add_argument("--version", action="version", version=f"bnblind {__version__}")
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = import_module(f"bnblind.review.{module}")
        summary = str(command.__doc__)
        subparser = commands.add_parser(
            name, help=summary.partition("\n")[0], description=summary.strip()
        )
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    if words[0] not in COMMANDS and not words[0].startswith("-"):
        raise unknown("command", words[0], COMMANDS)
    args, rest = parser.parse_known_args(words)
    if rest:
        options = re.findall(r"--[a-z-]+", commands.choices[args.command].format_help())
        raise unknown(f"argument of bnblind {args.command}", rest[0], dict.fromkeys(options))
    return args


def main(argv: Sequence[str] | None = None) -> None:
    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")  # as in bnblind.numerics
    try:
        args = parsed([*(sys.argv[1:] if argv is None else argv)] or ["--help"])
        try:
            args.run(args)
        finally:
            sys.stdout.flush()
    except BadInput as error:
        raise SystemExit(f"error: {error}") from error
    except ModuleNotFoundError as error:
        extra = "probe" if args.command == "probe" else "pipeline"
        raise SystemExit(
            f"error: needs {error.name}, which is not installed; in the project's folder: "
            f"pip install '.[{extra}]'"
        ) from error
    except BrokenPipeError as error:
        # `| head` has read enough; what is left goes nowhere, or the flush at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise SystemExit(f"error: {place}{error.strerror or error}") from error


if __name__ == "__main__":
    main()
