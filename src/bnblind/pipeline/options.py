"""The command line of a step: options named as what they hold."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

KINDS: dict[str, dict[str, Any]] = {
    "word": {"required": True},
    "words": {"required": True, "nargs": "+"},
    "settings": {"required": True, "type": json.loads},
    "file": {"required": True, "type": Path},
    "files": {"required": True, "type": Path, "nargs": "+"},
    "optional_files": {"type": Path, "nargs": "+", "default": []},
    "optional_file": {"type": Path},
}
"""What an option holds: a word or several, JSON, a path or several, paths that may be missing."""


def parse(step: str, argv: list[str], **names: str) -> argparse.Namespace:
    """The values of the options of the module ``step``, whose docstring describes it; ``names``:
    one of ``KINDS`` -> the options that hold it, separated by spaces. Exits, and says what is
    allowed, where one is missing or unknown.
    """
    described = sys.modules[step].__doc__
    parser = argparse.ArgumentParser(prog=step.rpartition(".")[2], description=described)
    for kind, of_kind in names.items():
        for name in of_kind.split():
            parser.add_argument(f"--{name}", **KINDS[kind])
    return parser.parse_args(argv)
