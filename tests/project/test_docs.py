"""The documentation's examples run as they stand, from top to bottom."""

import re
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT, RunPython

PAGES = (ROOT / "docs/library.md", ROOT / "README.md")


def python_blocks(page: Path) -> list[str]:
    """Every Python block of a page, also those inside a list."""
    blocks = re.findall(r"^( *)```python\n(.*?)^\1```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in blocks]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, run_python: RunPython) -> None:
    program = "\n".join(python_blocks(page))
    assert "bnblind" in program
    run = run_python("-W", "error::DeprecationWarning:bnblind", "-c", program)
    assert run.returncode == 0, run.stderr


def test_links_lead_to_files() -> None:
    for page in (*PAGES, *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), (page, target)
