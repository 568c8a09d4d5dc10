"""What is published: the source archive, the wheel, and what runs where it is installed."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
from email.parser import HeaderParser
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

import bnblind
from bnblind.__main__ import main
from tests.conftest import ROOT
from tests.helpers.clones import user_environment
from tests.helpers.pages import blocks

pytestmark = pytest.mark.starts_interpreter
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def run(*command: str | Path, cwd: Path) -> str:
    """What the command prints, without this tree on the path of Python."""
    ended = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=user_environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from what the archive holds and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=unpacked)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    source = ROOT / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in (source / "bnblind").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert names == expected
    assert "bnblind/py.typed" in names


def test_version_authors_and_licence_are_stated_once(
    wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        stated = HeaderParser().parsestr(packed.read(name).decode())
    assert stated["Version"] == bnblind.__version__ == CITATION["version"]
    assert stated["Author"] == ", ".join(author["name"] for author in CITATION["authors"])
    assert stated["License-Expression"] == CITATION["license"]
    assert f"## {bnblind.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"bnblind {bnblind.__version__}\n"


@pytest.mark.skipif(find_spec("twine") is None, reason="needs twine: make peers")
def test_the_readme_renders_on_a_package_page(archive: Path, wheel: Path) -> None:
    from twine.commands.check import check

    assert not check([str(archive), str(wheel)], strict=True)


EXTRAS = ".plot("
"""What of the page's Python needs an extra."""


@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which make env installs")
def test_an_installation_runs_every_example(wheel: Path, tmp_path: Path) -> None:
    """In an empty environment: the wheel with what it requires, then with its extras."""
    python = tmp_path / "bin/python"
    run("uv", "venv", "--quiet", "--python", sys.executable, tmp_path, cwd=tmp_path)

    def install(what: str) -> None:
        locked = ("--constraint", ROOT / "requirements.lock")
        run("uv", "pip", "install", "--quiet", "--python", python, *locked, what, cwd=tmp_path)

    page = blocks(ROOT / "docs/library.md", "python")
    alone = [code for code in page if EXTRAS not in code]
    assert 0 < len(alone) < len(page)
    install(f"bnblind @ {wheel.as_uri()}")
    run(python, "-c", "\n".join([*blocks(ROOT / "README.md", "python"), *alone]), cwd=tmp_path)
    origin = "import bnblind; print(bnblind.__file__)"
    assert run(python, "-c", origin, cwd=tmp_path).startswith(str(tmp_path))

    install(f"bnblind[plot,probe] @ {wheel.as_uri()}")
    last = max(place for place, code in enumerate(page) if EXTRAS in code)
    run(python, "-c", "\n".join(page[: last + 1]), cwd=tmp_path)
    shell = blocks(ROOT / "docs/library.md", "sh")
    (command,) = (code.strip() for code in shell if code.startswith("bnblind probe "))
    run("sh", "-euc", f'PATH="$PWD/bin:$PATH" {command} --batches 1', cwd=tmp_path)
    assert (tmp_path / "probe.html").is_file()


def test_extras_are_named_in_the_documentation() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = (ROOT / "docs/library.md").read_text()
    for extra in {*project["optional-dependencies"]} - {"dev"}:
        assert f'".[{extra}]"' in told
