"""CITATION.cff, .zenodo.json and the documents say the same of the software.

`make lint` compares CITATION.cff with its schema.
"""

import json
import tomllib

import yaml

from tests.conftest import ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
ZENODO = json.loads((ROOT / ".zenodo.json").read_text())
PAPER = CITATION["preferred-citation"]
PLACEHOLDER = "<this repository>"


def test_zenodo_gets_what_the_citation_says() -> None:
    assert ZENODO["title"] == CITATION["title"]
    assert ZENODO["description"] == CITATION["abstract"]
    assert ZENODO["keywords"] == CITATION["keywords"]
    assert ZENODO["license"] == CITATION["license"]
    assert ZENODO["creators"] == CITATION["authors"]
    assert "version" not in ZENODO  # Zenodo takes that of the release


def test_zenodo_names_the_paper() -> None:
    named = [related["identifier"] for related in ZENODO["related_identifiers"]]
    assert {PAPER["doi"], *(other["value"] for other in PAPER["identifiers"])} <= {*named}


def test_the_licence_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CITATION["license"] == project["license"]


def test_the_repositorys_address_is_told_once_there_is_one_and_not_before() -> None:
    """Until then the documents say ``<this repository>``, and nothing makes an address up."""
    address = CITATION.get("repository-code")
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    placeholders = [file.name for file in documents if PLACEHOLDER in file.read_text()]
    related = {other["identifier"] for other in ZENODO["related_identifiers"]}
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("urls", {})
    if address is None:
        assert "README.md" in placeholders
        assert urls == {}
        assert "git clone http" not in "".join(file.read_text() for file in documents)
    else:
        assert placeholders == []
        assert address in related
