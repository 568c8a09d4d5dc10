"""The documentation's examples run as they stand, from top to bottom."""

import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, RunPython
from tests.helpers.pages import blocks
from tests.helpers.scripts import import_script

PAGES = (ROOT / "docs/library.md", ROOT / "README.md")


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
    programs = {page.name: "\n".join(blocks(page, "python")) for page in PAGES}
    command = ("-W", "error::DeprecationWarning:bnblind", "-c", PROGRAM)
    run = run_python(*command, stdin=json.dumps(programs), OMP_NUM_THREADS="1")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1]), run.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, ended: tuple[dict[str, int], str]) -> None:
    statuses, errors = ended
    assert "bnblind" in "".join(blocks(page, "python"))
    assert statuses[page.name] == 0, errors


def test_the_table_of_faults_sums_up_the_tries() -> None:
    faults = import_script("faults")
    told = json.loads((ROOT / "docs/faults.json").read_text())
    tries = [faults.Try(**{**one, "differing": tuple(one["differing"])}) for one in told]
    assert (ROOT / "docs/faults.md").read_text() == faults.table(tries)


def test_the_certificates_table_is_written_into_its_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    text = import_script("certify").document({"2 cores": ["the smoke profile", "185", "0"]})
    before = (ROOT / "docs/certificate.md").read_text()
    assert "| 2 cores | the smoke profile | 185 | 0 |" in text
    assert text.splitlines()[0] == before.splitlines()[0]
    assert text.splitlines()[-1] == before.splitlines()[-1]


LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCED = re.compile(r"^( *)(```|~~~).*?^\1\2$", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page in links to them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ +(.+?)(?: +#+)? *$", FENCED.sub("", page.read_text()), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()  # a link's text
        found.append(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return {
        name if before == 0 else f"{name}-{before}"
        for name, before in ((name, found[:i].count(name)) for i, name in enumerate(found))
    }


def broken_links(page: Path) -> list[str]:
    """Links of a page that lead to no file, or to no heading of a page."""
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if re.match(r"https?:|mailto:", link):
            continue
        file = page.parent / target if target else page
        if not file.exists() or (anchor and (file.suffix != ".md" or anchor not in anchors(file))):
            broken.append(link)
    return broken


def test_links_lead_to_files_and_headings() -> None:
    pages = [page for name in ("*.md", "[!.]*/README.md", "docs/*.md") for page in ROOT.glob(name)]
    assert {page.parent.name for page in pages} >= {"config", "data", "docs", "proofs", "reports"}
    links = [link for page in pages for link in LINK.findall(page.read_text())]
    assert sum("#" in link and not link.startswith("https:") for link in links) > 5
    assert {page: broken_links(page) for page in pages if broken_links(page)} == {}


@pytest.mark.parametrize(
    ("link", "fine"),
    [
        ("other.md", True),
        ("#what-is-new-in-020", True),
        ("other.md#a_code-name", True),
        ("other.md#twice", True),
        ("other.md#twice-1", True),
        ("https://example.org/#x", True),
        ("missing.md", False),
        ("#nowhere", False),
        ("other.md#twice-2", False),
        ("other.md#no-heading", False),
        ("other.md#What", False),
        ("code.py#L1", False),
        ("missing.md#twice", False),
    ],
)
def test_broken_links_are_seen(tmp_path: Path, link: str, *, fine: bool) -> None:
    (tmp_path / "code.py").touch()
    other = "# Twice\n\n## `A_code` name\n\n```sh\n# no heading\n```\n\n## [Twice](x.md)\n"
    (tmp_path / "other.md").write_text(other)
    page = tmp_path / "page.md"
    page.write_text(f"# What is new, in 0.2.0?\n\nSee ![this]({link}).\n")
    assert broken_links(page) == ([] if fine else [link])
