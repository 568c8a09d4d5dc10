"""How long the pieces of a computation will take: said, and refused where it is too much."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from bnblind.errors import BadInput

Piece = TypeVar("Piece")

SECONDS_UNTIL_A_WORD = 3.0
SECONDS_TO_MEASURE = 1.0


def paced(pieces: Sequence[Piece], what: str, most: float | None = None) -> Iterator[Piece]:
    """The pieces one by one; on a terminal, after a few seconds, with a line on what is left.

    Args:
        pieces: whose work, about the same for each, is done before the next is asked for.
        what: they compute, for the line and the error.
        most: seconds that all of them may take, by what those done so far took; None: any.

    Raises:
        BadInput: they would take longer, as is seen after a second.
    """
    start, said = time.monotonic(), False
    try:
        for done, piece in enumerate(pieces):
            spent = time.monotonic() - start
            whole = spent * len(pieces) / max(done, 1)
            if most is not None and spent > SECONDS_TO_MEASURE and whole > most:
                raise BadInput(
                    f"{what} would take about {whole:.0f} s; hdiag='auto' stops at {most:.0f} s. "
                    "hdiag=64 estimates the diagonal from 64 Hessian-vector products, "
                    "hdiag='exact' takes the time"
                )
            if spent > SECONDS_UNTIL_A_WORD and sys.stderr.isatty():
                said = True
                left = f"{done / len(pieces):.0%}, about {whole - spent:.0f} s left"
                print(f"\r{what}: {left}\x1b[K", end="", file=sys.stderr, flush=True)
            yield piece
    finally:
        if said:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
