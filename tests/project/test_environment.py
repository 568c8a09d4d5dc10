"""pyproject.toml, requirements.lock and environment.yml say the same."""

import re
import sys
import tomllib
from importlib.metadata import version
from platform import machine

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.helpers.scripts import import_script

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
ADDED = (ROOT / "tests/networks/requirements.lock").read_text()


def pinned(lock: str) -> list[Requirement]:
    return [Requirement(line) for line in re.findall(r"^(\S+==.*) \\$", lock, re.MULTILINE)]


LINES = pinned(LOCK)
PINNED = {canonicalize_name(line.name): str(line.specifier)[2:] for line in LINES}
PLATFORMS = {
    "linux x86_64": ("linux", "x86_64"),
    "linux aarch64": ("linux", "aarch64"),
    "macos arm64": ("darwin", "arm64"),
}


def pins(platform: str) -> dict[str, str]:
    """What the lock installs under CPython 3.11 there."""
    names = ("sys_platform", "platform_machine")
    there = {
        **dict(zip(names, PLATFORMS[platform], strict=True)),
        **{"python_full_version": "3.11.9", "implementation_name": "cpython"},
        "platform_python_implementation": "CPython",
    }
    kept = [line for line in LINES if line.marker is None or line.marker.evaluate(there)]
    return {canonicalize_name(line.name): str(line.specifier)[2:] for line in kept}


def test_the_lock_satisfies_every_requirement_of_the_project() -> None:
    extras = PROJECT["optional-dependencies"]
    stated = [*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)]
    for requirement in map(Requirement, stated):
        pin = PINNED.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement} is not in requirements.lock: run `make lock`"
        assert pin in requirement.specifier, f"{requirement} is locked at {pin}: run `make lock`"


def test_every_pin_has_a_hash() -> None:
    blocks = re.split(r"\n(?=\S)", LOCK)
    pinned = [block for block in blocks if "==" in block.splitlines()[0]]
    assert len(pinned) == len(PINNED) == len(LINES) > 100
    assert all("--hash=sha256:" in block for block in pinned)


def test_what_the_tests_add_changes_no_locked_package() -> None:
    added = {canonicalize_name(line.name) for line in pinned(ADDED)}
    assert {"timm", "lightning", "twine"} <= added
    assert added.isdisjoint(PINNED)
    assert ADDED.count("--hash=sha256:") >= len(added)


def test_this_environment_is_the_locked_one() -> None:
    here = next((name for name, of in PLATFORMS.items() if of == (sys.platform, machine())), None)
    if here is None:
        pytest.skip(f"the lock is not for {sys.platform} on {machine()}")
    assert {name: version(name) for name in pins(here)} == pins(here)


@pytest.mark.parametrize("platform", ["linux aarch64", "macos arm64"])
def test_other_platforms_get_the_pins_of_x86_64(platform: str) -> None:
    """But for CUDA's libraries on macOS, and what a platform needs for itself."""
    theirs, ours = pins(platform), pins("linux x86_64")
    assert len(ours) > 200
    assert theirs.items() - ours.items() <= {("appnope", PINNED["appnope"])}
    left_out = ours.keys() - theirs.keys()
    cuda = {name for name in ours if name.startswith(("cuda-", "nvidia-"))} | {"triton"}
    assert len(cuda) > 15
    assert left_out == (cuda if platform == "macos arm64" else set())


def test_the_library_alone_needs_torch_and_pandas() -> None:
    assert [Requirement(line).name for line in PROJECT["dependencies"]] == ["torch", "pandas"]


def test_the_versions_that_are_tried_are_those_that_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the table says what came of it."""
    monkeypatch.chdir(ROOT)
    versions = import_script("versions")
    oldest = versions.TRIED[0][1]
    assert f"torch>={oldest.rpartition('.')[0]}" in PROJECT["dependencies"]
    newest = {torch for _, torch, _ in versions.TRIED[1:]}
    assert newest == {PINNED["torch"]}
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if ":: Python ::" in line]
    assert [python for python, _, _ in versions.TRIED] == named
    page = (ROOT / "docs/library.md").read_text()
    text = versions.document({python: f"{python} passed" for python in named})
    assert f"| 3.13 | {PINNED['torch']} | 3.13 passed |" in text
    assert text.splitlines()[0] == page.splitlines()[0]
    assert text.splitlines()[-1] == page.splitlines()[-1]


def test_conda_gets_python_and_the_same_lock() -> None:
    stated = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert stated == ["python=3.11", "pip", {"pip": ["--requirement requirements.lock"]}]
    assert "--python-version 3.11" in LOCK.splitlines()[1]
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_image_is_the_machine_that_the_readme_asks_for() -> None:
    """As is the one of scripts/fresh_machine.sh, which reads README.md."""
    stated = re.findall(r"apt-get install ([a-z0-9 -]+)`", (ROOT / "README.md").read_text())
    image = (ROOT / "Dockerfile").read_text()
    installed = re.findall(r"install --yes --no-install-recommends ([a-z0-9 -]+) \\", image)
    assert len(stated) == 1
    assert installed == stated
    assert "FROM debian:bookworm-slim\n" in image
    assert "RELEASE:-bookworm" in (ROOT / "scripts/fresh_machine.sh").read_text()


def test_github_runs_what_every_change_has_to_pass() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    check, *publish = [step for step in steps if "run" in step]
    assert check["run"].endswith("bash .ci/run")
    assert {step["if"] for step in publish} == {"github.ref == 'refs/heads/main'"}
    used = {step["uses"]: step.get("with") for step in steps if "uses" in step}
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)
    assert used["actions/setup-python@v5"] == {"python-version": "3.11"}
