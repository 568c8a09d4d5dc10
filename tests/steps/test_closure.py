"""The import closure: what a step's rule must name as its inputs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bnblind.pipeline.__main__ import STEPS
from bnblind.pipeline.closure import import_closure
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("step", STEPS)
def test_everything_that_a_step_imports_is_in_its_closure(step: str) -> None:
    """Against Python itself: the package's modules after importing the step."""
    code = (
        f"import sys, bnblind.pipeline.{step}\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'bnblind'))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": "src"}, capture_output=True, text=True
    ).stdout
    loaded = {str(Path(file).relative_to(ROOT)) for file in printed.split()}
    closure = set(import_closure([f"src/bnblind/pipeline/{step}.py"]))
    assert loaded
    assert closure == loaded


def make_tree(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_public_names_lead_to_their_modules(tmp_path: Path) -> None:
    """A notebook that uses the package's lazily loaded names depends on all of them."""
    cell = {"cell_type": "code", "source": ["import bnblind\n", "bnblind.thing()"]}
    make_tree(
        tmp_path,
        {
            "bnblind/__init__.py": "if TYPE_CHECKING:\n    from bnblind.deep.mod import thing\n",
            "bnblind/deep/__init__.py": "",
            "bnblind/deep/mod.py": "from bnblind import other",
            "bnblind/other.py": "",
            "bnblind/unused.py": "",
            "n.ipynb": json.dumps({"cells": [cell]}),
        },
    )
    found = import_closure([str(tmp_path / "n.ipynb")], str(tmp_path))
    names = {str(Path(file).relative_to(tmp_path)) for file in found}
    assert names == {
        "n.ipynb",
        "bnblind/__init__.py",
        "bnblind/deep/__init__.py",
        "bnblind/deep/mod.py",
        "bnblind/other.py",
    }
