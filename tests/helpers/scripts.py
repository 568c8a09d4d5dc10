"""The project's scripts, which are no package."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

from tests.conftest import ROOT


def import_script(name: str) -> ModuleType:
    """``scripts/NAME.py`` as a module."""
    spec = spec_from_file_location(f"script_{name}", ROOT / f"scripts/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patched:
        # Scripts import one another, and put this tree's code before the installed one.
        patched.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
        spec.loader.exec_module(module)
    return module
