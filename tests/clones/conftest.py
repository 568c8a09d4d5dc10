"""Two finished clones, made at the same time under different circumstances."""

from pathlib import Path

import pytest

from tests.helpers.clones import Clone, make_clone, user_environment


@pytest.fixture(scope="session")
def clones(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, Clone]:
    """The pipeline finished twice: other directory, cores, time zone, language, umask, hashes."""
    folder = tmp_path_factory.mktemp("clones")
    first = make_clone(folder / "first", environment=user_environment(PYTHONHASHSEED="1"))
    elsewhere = user_environment(
        TZ="Asia/Kathmandu",
        LANG="de_DE.UTF-8",
        LC_ALL="tr_TR.UTF-8",
        PYTHONHASHSEED="4711",
        OMP_NUM_THREADS="2",
        MPLBACKEND="pdf",
    )
    second = make_clone(folder / "a second place" / "deeper", environment=elsewhere, umask=0o077)
    started = [
        first.start("snakemake", "--cores", "1"),
        second.start("snakemake", "--cores", "8"),
    ]
    for process in started:
        printed, _ = process.communicate(timeout=900)
        assert process.returncode == 0, printed
    return first, second


@pytest.fixture(scope="session")
def first(clones: tuple[Clone, Clone]) -> Clone:
    return clones[0]


@pytest.fixture(scope="session")
def second(clones: tuple[Clone, Clone]) -> Clone:
    return clones[1]


@pytest.fixture
def workspace(tmp_path: Path) -> Clone:
    """A clone in which nothing has run."""
    return make_clone(tmp_path / "clone")
