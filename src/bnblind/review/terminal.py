"""What a terminal is shown in another way than a file: lines in its width, verdicts in colour."""

import os
import re
import shutil
import sys
import textwrap

GREEN, YELLOW, RED = 32, 33, 31
COLOURS = {"not reproduced": RED, "reproduced": GREEN, "partly": YELLOW, "undecided": YELLOW}
"""Those of the verdicts; the longer of two that begin or end alike comes first."""


def columns() -> int | None:
    """How wide the terminal is that stdout goes to; None if it goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def within(line: str, indent: int = 0) -> str:
    """The line, on a terminal broken between words; what follows is indented, below a table's last
    column.
    """
    if (width := columns()) is None:
        return line
    return textwrap.fill(
        line,
        max(width, indent + 20),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def coloured(text: str) -> str:
    """The text, on a terminal with its verdicts in colour unless NO_COLOR is set."""
    if columns() is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return re.sub(
        rf"\b({'|'.join(COLOURS)})\b",
        lambda found: f"\x1b[{COLOURS[found[0]]}m{found[0]}\x1b[0m",
        text,
    )
