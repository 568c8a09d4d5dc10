"""Two finished clones, made at the same time under different circumstances."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.clones import Clone, copy_of, make_clone, user_environment

FIRST = user_environment(PYTHONHASHSEED="1")
SECOND = user_environment(
    TZ="Asia/Kathmandu",
    LANG="de_DE.UTF-8",
    LC_ALL="tr_TR.UTF-8",
    PYTHONHASHSEED="4711",
    OMP_NUM_THREADS="2",
    MPLBACKEND="pdf",
)


def run_both(folder: Path) -> None:
    first = make_clone(folder / "first", environment=FIRST)
    second = make_clone(folder / "a second place/deeper", environment=SECOND, umask=0o077)
    started = [
        first.start("snakemake", "--cores", "1"),
        second.start("snakemake", "--cores", "8"),
    ]
    for process in started:
        printed, _ = process.communicate(timeout=1800)
        assert process.returncode == 0, printed


@pytest.fixture(scope="session")
def clones(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, Clone]:
    """The pipeline finished twice: other directory, cores, time zone, language, umask, hashes.

    Made once for all of pytest's processes; so no test may change one of them.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "clones"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            run_both(folder)
    first = Clone(folder / "first", environment=FIRST)
    return first, Clone(folder / "a second place/deeper", environment=SECOND, umask=0o077)


@pytest.fixture(scope="session")
def first(clones: tuple[Clone, Clone]) -> Clone:
    return clones[0]


@pytest.fixture(scope="session")
def second(clones: tuple[Clone, Clone]) -> Clone:
    return clones[1]


@pytest.fixture
def finished(second: Clone, tmp_path: Path) -> Clone:
    """A copy of the second clone, for a test to change."""
    return copy_of(second, tmp_path / "a copy")


@pytest.fixture
def workspace(tmp_path: Path) -> Clone:
    """A clone in which nothing has run."""
    return make_clone(tmp_path / "clone")
