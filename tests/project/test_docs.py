"""The documentation's examples run as they stand, from top to bottom."""

import json
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


PROGRAM = """
import json, os, sys
import pandas, torch  # once for all pages

statuses = {}
for page, code in json.load(sys.stdin).items():
    if not os.fork():
        exec(compile(code, page, "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
        os._exit(0)
    statuses[page] = os.wait()[1]
print(json.dumps(statuses))
"""


@pytest.fixture(scope="module")
def ended(run_python: RunPython) -> tuple[dict[str, int], str]:
    """How the examples of each page ended, each in a process of its own; and what went wrong."""
    programs = {page.name: "\n".join(python_blocks(page)) for page in PAGES}
    command = ("-W", "error::DeprecationWarning:bnblind", "-c", PROGRAM)
    run = run_python(*command, stdin=json.dumps(programs), OMP_NUM_THREADS="1")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1]), run.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, ended: tuple[dict[str, int], str]) -> None:
    statuses, errors = ended
    assert "bnblind" in "".join(python_blocks(page))
    assert statuses[page.name] == 0, errors


def test_links_lead_to_files() -> None:
    for page in (*PAGES, *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), (page, target)
