"""Configuration words that carry a number. No numerical library: planning reads them too."""

import re

PURITY = r"purity-(0\.[0-9]*[1-9]|1)"
"""The batching of purity p, such as ``purity-0.9`` or ``purity-1``: one spelling per number."""

FOREIGN = r"foreign-([1-9][0-9]{0,3})"
"""The batching with that many samples of other classes in every batch, such as ``foreign-1``."""


def foreign_of(word: str) -> int | None:
    """The k of ``foreign-k``; None for any other word."""
    match = re.fullmatch(FOREIGN, word)
    return int(match.group(1)) if match else None


def foreign_word(foreign: int) -> str:
    return f"foreign-{foreign}"


def purity_word(purity: float) -> str:
    """The word of the batching of that purity, a number of at most 6 digits."""
    return f"purity-{purity:g}"


def purity_of(word: str) -> float | None:
    """The p of ``purity-p``; None for any other word."""
    match = re.fullmatch(PURITY, word)
    return float(match.group(1)) if match else None
