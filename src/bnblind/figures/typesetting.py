"""Numbers as books print them."""

import re

SPACE = "\N{NO-BREAK SPACE}"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def typeset(text: str) -> str:
    """A text with numbers as a computer writes them, as books print it: ``-1e-12`` is ``−10⁻¹²``,
    ``-0.0`` is ``0.0``. No line ends within a number, a percentage or an interval of
    plain numbers (those with powers of ten are too long for a column).
    """
    text = re.sub(
        r"(?<![\w.])(?:1e|([\d.]+)e)([+-]\d+)\b",
        lambda n: (
            (f"{n[1]}{SPACE}×{SPACE}" if n[1] else "") + f"10{str(int(n[2])).translate(RAISED)}"
        ),
        text,
    )
    text = re.sub(r"(?<![\w.)])-(?=0(?:\.0+)?(?!\.?\d))", "", text)
    text = re.sub(r"(?<![\w.)])-(?=\d)", "−", text)
    text = re.sub(r"([<≤>≥]=?) (?=[\d−])", rf"\1{SPACE}", text)
    text = re.sub(r"(?<=\d) to (?=[\d−+])", f"{SPACE}to{SPACE}", text)
    return re.sub(r"(?<=\d) %", f"{SPACE}%", text).replace("<=", "≤").replace(">=", "≥")
