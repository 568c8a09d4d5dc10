"""Two finished clones, made at the same time under different circumstances."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.clones import Clone, commit_hashes, copy_of, make_clone, user_environment
from tests.helpers.machines import namespace, path_without

FIRST = user_environment(PYTHONHASHSEED="1")
SECOND = user_environment(
    TZ="Asia/Kathmandu",
    LC_ALL="tr_TR.UTF-8",
    PYTHONHASHSEED="4711",
    OMP_NUM_THREADS="2",
    MPLBACKEND="pdf",
)
"""Without that language installed the C library takes its own; a test asserts that it is there."""

SEEN = "cat /proc/net/dev >../network; command -v git >../git; exec snakemake --cores 8"
"""Leaves beside the second clone what the run could see of the network and of git."""


def second_place(folder: Path) -> Path:
    """A path of 200 characters, with spaces and umlauts."""
    words = "ein zweiter, äußerst langer Ort " * 6
    return folder / words[: 200 - len(str(folder)) - len("//tiefer")] / "tiefer"


def run_both(folder: Path) -> None:
    """The second run has no network, where that can be done, and no git."""
    first = make_clone(folder / "first", environment=FIRST)
    second = make_clone(second_place(folder), environment=SECOND, umask=0o077)
    path = path_without("git", SECOND["PATH"], folder / "programs")
    started = [
        first.start("snakemake", "--cores", "1"),
        second.start(*namespace("--net"), "env", f"PATH={path}", "sh", "-c", SEEN),
    ]
    for process in started:
        printed, _ = process.communicate(timeout=1800)
        assert process.returncode == 0, printed


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder made once for all of pytest's processes; so no test may change it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    made = folder.with_name(f"{name} is made")
    with FileLock(f"{folder}.lock"):
        if not made.exists():
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def clones(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, Clone]:
    """The pipeline finished twice: other directory, cores, time zone, language, umask, hashes;
    the second without a network and without git.
    """
    folder = made_once(tmp_path_factory, "clones", run_both)
    first = Clone(folder / "first", environment=FIRST)
    return first, Clone(second_place(folder), environment=SECOND, umask=0o077)


@pytest.fixture(scope="session")
def first(clones: tuple[Clone, Clone]) -> Clone:
    return clones[0]


@pytest.fixture(scope="session")
def second(clones: tuple[Clone, Clone]) -> Clone:
    return clones[1]


@pytest.fixture(scope="session")
def committed(second: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy of the second clone whose hashes DVC has taken up and git holds, for a user of the
    first one's language.
    """

    def make(folder: Path) -> None:
        clone = copy_of(second, folder)
        clone.run("dvc", "repro")
        commit_hashes(clone)

    return Clone(made_once(tmp_path_factory, "committed", make), environment=FIRST)


@pytest.fixture
def finished(second: Clone, tmp_path: Path) -> Clone:
    """A copy of the second clone, for a test to change."""
    return copy_of(second, tmp_path / "a copy")


@pytest.fixture
def workspace(tmp_path: Path) -> Clone:
    """A clone in which nothing has run."""
    return make_clone(tmp_path / "clone")
