"""What the documents say of the proofs leads to statements, functions and tests that exist."""

import importlib
import re
from pathlib import Path

from tests.conftest import ROOT
from tests.helpers.proofs import FOLDER, sources


def table():
    """The rows of the README's table: statements, library functions, tests."""
    for line in (FOLDER / "README.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| |"):
            cells = line.strip("|").split("|")
            yield [re.findall(r"`([^`]+)`", cell) for cell in cells[1:]]


def test_the_table_names_every_statement_once():
    named = [name for statements, _, _ in table() for name in statements]
    assert sorted(named) == sorted(sources.statements((FOLDER / "Statements.v").read_text()))


def test_the_theory_links_to_statements_and_functions():
    text = (ROOT / "docs/theory.md").read_text()
    links = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/.]+)\)", text)
    stated = sources.statements((FOLDER / "Statements.v").read_text())
    for name, file in links:
        if file == "proofs/Statements.v":
            assert name in stated, name
        else:
            kind_and_name = rf"^(?:def|class) {name.rsplit('.', 1)[-1]}\b"
            assert re.search(kind_and_name, (ROOT / file).read_text(), re.MULTILINE), name
    assert {f"T{number}" for number in range(1, 8)} <= {name for name, _ in links}


def test_the_table_leads_to_functions_and_tests():
    for _, functions, tests in table():
        for function in functions:
            module, name = function.rsplit(".", 1)
            assert hasattr(importlib.import_module(module), name), function
        for test in tests:
            file, name = test.split("::")
            assert f"def {name}(" in Path(ROOT, "tests", f"{file}.py").read_text(), test
