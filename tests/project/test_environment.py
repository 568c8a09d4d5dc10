"""pyproject.toml, requirements.lock and environment.yml say the same."""

import re
import tomllib
from importlib.metadata import version

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = {
    canonicalize_name(name): pin
    for name, pin in re.findall(r"^([\w.\[\]-]+)==(\S+) \\$", LOCK, re.MULTILINE)
}


def test_the_lock_satisfies_every_requirement_of_the_project() -> None:
    extras = PROJECT["optional-dependencies"]
    stated = [*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)]
    for requirement in map(Requirement, stated):
        pin = PINNED.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement} is not in requirements.lock: run `make lock`"
        assert pin in requirement.specifier, f"{requirement} is locked at {pin}: run `make lock`"


def test_every_pin_has_a_hash() -> None:
    blocks = re.split(r"\n(?=\S)", LOCK)
    pins = [block for block in blocks if "==" in block.splitlines()[0]]
    assert len(pins) == len(PINNED) > 100
    assert all("--hash=sha256:" in block for block in pins)


def test_this_environment_is_the_locked_one() -> None:
    for name in ("torch", "torchvision", "numpy", "snakemake", "dvc", "matplotlib", "pyarrow"):
        assert version(name) == PINNED[canonicalize_name(name)]


def test_the_library_alone_needs_torch_and_pandas() -> None:
    assert [Requirement(line).name for line in PROJECT["dependencies"]] == ["torch", "pandas"]


def test_conda_gets_python_and_the_same_lock() -> None:
    stated = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert stated == ["python=3.11", "pip", {"pip": ["--requirement requirements.lock"]}]
    assert "--python-version 3.11" in LOCK.splitlines()[1]
    assert PROJECT["requires-python"] == ">=3.11"
