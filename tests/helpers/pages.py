"""The code in the documentation's pages."""

import re
import textwrap
from pathlib import Path


def blocks(page: Path, language: str) -> list[str]:
    """Every block of a page in that language, also those inside a list."""
    fenced = rf"^( *)```{language}\n(.*?)^\1```"
    found = re.findall(fenced, page.read_text(), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in found]
