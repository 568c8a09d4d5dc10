"""The site of the documents: what scripts/docs_site.py does to them. `make docs` builds it."""

import re
import tomllib
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement

from tests.conftest import ROOT
from tests.helpers.scripts import import_script

LOCK = (ROOT / "docs/requirements.lock").read_text()
SOURCE = PurePosixPath("docs/page.md")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.chdir(ROOT)
    return import_script("docs_site")


def pages_of(navigation: object) -> list[str]:
    match navigation:
        case str():
            return [navigation]
        case dict():
            return [page for below in navigation.values() for page in pages_of(below)]
        case list():
            return [page for below in navigation for page in pages_of(below)]
    raise AssertionError(navigation)


def test_every_document_is_in_the_navigation_once(site: ModuleType) -> None:
    navigation = yaml.load((ROOT / "mkdocs.yml").read_text(), yaml.BaseLoader)["nav"]
    documents = [file.name for file in (ROOT / "docs").glob("*.md")]
    assert sorted(pages_of(navigation)) == sorted([*documents, *site.PLACES.values(), *site.MADE])


def test_the_lock_has_what_the_group_names_with_hashes() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["docs"]
    blocks = [block for block in re.split(r"\n(?=\S)", LOCK) if "==" in block.splitlines()[0]]
    pinned = [Requirement(block.splitlines()[0].rstrip(" \\")) for block in blocks]
    assert {*map(Requirement, stated)} <= {*pinned}
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("theory.md#notation", "theory.md#notation"),
        ("#here", "#here"),
        ("https://example.org/a.py", "https://example.org/a.py"),
        ("../config/README.md#claimsyaml", "reference/configuration.md#claimsyaml"),
        ("../src/bnblind/split.py", "repository/src/bnblind/split.py.md"),
        ("../receipts/README.md", "repository/receipts/README.md"),
        ("../README.md", "repository/README.md"),
        ("../.github/workflows/ci.yml", "repository/github/workflows/ci.yml.md"),
        ("images/causes.svg", "images/causes.svg"),
    ],
)
def test_links_lead_into_the_site(link: str, expected: str, site: ModuleType) -> None:
    assert site.with_links(f"See [a]({link}).", SOURCE) == f"See [a]({expected})."


def test_links_of_a_page_that_moves_stay_right(site: ModuleType) -> None:
    text = "[a](../docs/theory.md) [b](claims.yaml)"
    moved = site.with_links(text, PurePosixPath("config/README.md"))
    assert moved == "[a](../theory.md) [b](../repository/config/claims.yaml.md)"


def test_a_link_to_a_folder_is_its_name_and_code_stays(site: ModuleType) -> None:
    text = "[there](../published)\n\n```sh\n[x](../published)\n```\n"
    expected = "`published/`\n\n```sh\n[x](../published)\n```\n"
    assert site.with_links(text, SOURCE) == expected


def test_what_belongs_to_an_entry_is_indented_by_four(site: ModuleType) -> None:
    text = "- a\n  b\n\n  ```py\n  if x:\n      y\n  ```\n- c\n  - d\n    e\n\nf\n1. g\n   h\n"
    assert site.with_wide_lists(text) == (
        "- a\n    b\n\n    ```py\n    if x:\n        y\n    ```\n- c\n    - d\n        e\n"
        "\nf\n1. g\n    h\n"
    )


def test_docstrings_refer_to_what_they_name(site: ModuleType) -> None:
    content = "<p>As :func:<code>bnblind.blocked</code>, T4 in docs/theory.md.</p>"
    assert site.with_references(content, "../") == (
        '<p>As <autoref identifier="bnblind.blocked" optional><code>bnblind.blocked</code>'
        '</autoref>, T4 in <a href="../theory.html">theory</a>.</p>'
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('<a href="b.html#there">', ""),
        ('<a href="#here"><p id="here">', ""),
        ('<a href="https://example.org">', ""),
        ('<img src="data:image/png;base64,">', ""),
        ('<a href="c.html">', "a.html links to c.html, which is missing"),
        ('<img src="c.png">', "a.html links to c.png, which is missing"),
        ('<a href="b.html#x">', "a.html links to b.html#x, where there is no such heading"),
        ('<script src="https://example.org/a.js">', "a.html loads https://example.org/a.js"),
        ('<link rel="stylesheet" href="//a.org/b.css">', "a.html loads //a.org/b.css"),
    ],
)
def test_problems_are_seen(content: str, problem: str, site: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(content)
    (tmp_path / "b.html").write_text('<h2 id="there">')
    assert site.problems(tmp_path) == ([problem] if problem else [])


def test_a_style_sheet_that_asks_another_host_is_seen(site: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url('https://example.org/f.woff2') }")
    assert site.problems(tmp_path) == ["a.css loads https://example.org/f.woff2"]


def test_the_references_name_everything_public(site: ModuleType) -> None:
    import bnblind

    page = site.library_page()
    assert all(f"::: bnblind.{name}\n" in page for name in bnblind.__all__)
    assert all(f"| `{name}` |" in site.norms_page() for name in site.norm_facts())
    assert all(f"## bnblind {name}\n" in site.commands_page() for name in site.COMMANDS)
