"""``make env`` finds a Python 3.11 under any usual name, or says what to type."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

RIGHT = "#!/bin/sh\nexit 0\n"
WRONG = '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.13.1\nexit 1\n'
NOT_CHOSEN = "#!/bin/sh\necho pyenv: python3.11: command not found >&2\nexit 127\n"
"""How an interpreter answers that is 3.11, that is another, and that pyenv has only in name."""
UV = """#!/bin/sh
case "$*" in
*install*3.11*) echo fetched >&2; touch "$HOME/fetched" ;;
*find*3.11*) [ -f "$HOME/fetched" ] && echo "$HOME/of-uv/python3.11" ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A machine with a shell and no Python."""
    for program in ("sh", "cat", "touch"):
        found = shutil.which(program)
        assert found
        place(tmp_path / "bin" / program, "").unlink()
        (tmp_path / "bin" / program).symlink_to(found)
    return tmp_path


def place(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)
    return path


def find(home: Path, *words: str, **extra: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", str(ROOT / "scripts/find_python.sh"), *words],
        env={"PATH": str(home / "bin"), "HOME": str(home), **extra},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["python3.11", "python3", "python"])
def test_any_name_on_the_path_will_do(home: Path, name: str) -> None:
    for other in ("python3.11", "python3", "python"):
        place(home / "bin" / other, RIGHT if other == name else WRONG)
    assert find(home).stdout == f"{home}/bin/{name}\n"


def test_condas_and_pyenvs_own_are_found(home: Path) -> None:
    place(home / "bin/python3.11", NOT_CHOSEN)
    place(home / "bin/python3", WRONG)
    pyenv = place(home / ".pyenv/versions/3.11.9/bin/python", RIGHT)
    place(home / ".pyenv/versions/3.13.1/bin/python", WRONG)
    assert find(home).stdout == f"{pyenv}\n"
    elsewhere = place(home / "elsewhere/versions/3.11.2/bin/python", RIGHT)
    assert find(home, PYENV_ROOT=f"{home}/elsewhere").stdout == f"{elsewhere}\n"
    conda = place(home / "a conda/bin/python", RIGHT)
    assert find(home, CONDA_PREFIX=f"{home}/a conda").stdout == f"{conda}\n"


def test_uv_fetches_one_if_it_has_none(home: Path) -> None:
    place(home / "bin/python3", WRONG)
    place(home / "bin/uv", UV)
    for errors in ("fetched\n", ""):
        run = find(home)
        assert (run.stdout, run.stderr) == (f"{home}/of-uv/python3.11\n", errors)


def test_another_python_only_is_told_what_to_type(home: Path) -> None:
    place(home / "bin/python3", WRONG)
    run = find(home)
    assert (run.returncode, run.stdout) == (1, "")
    first, *rest = run.stderr.splitlines()
    assert first.startswith("error: no Python 3.11 here")
    assert "(found: Python 3.13.1)" in first
    assert "make PYTHON=/path/to/python3.11" in rest[-1]


def test_a_given_one_is_taken_or_refused(home: Path) -> None:
    given, other = place(home / "given", RIGHT), place(home / "other", WRONG)
    place(home / "bin/python3.11", RIGHT)
    assert find(home, str(given)).stdout == f"{given}\n"
    run = find(home, str(other))
    message = f"error: {other} is not Python 3.11 (found: Python 3.13.1)\n"
    assert (run.returncode, run.stdout, run.stderr) == (1, "", message)


def test_make_env_ends_with_that_message(home: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "scripts/find_python.sh"):
        place(clone / name, (ROOT / name).read_text())
    command = ["make", "--no-print-directory", "env", f"PYTHON={place(home / 'other', WRONG)}"]
    run = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert run.stdout == ""
    assert "error:" in run.stderr
    assert "is not Python 3.11 (found: Python 3.13.1)" in run.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.starts_interpreter
def test_this_interpreter_is_asked_for_its_version(home: Path) -> None:
    found = find(home, sys.executable).stdout.strip()
    assert found == (sys.executable if sys.version_info[:2] == (3, 11) else "")
