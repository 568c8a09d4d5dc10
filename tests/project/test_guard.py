"""``make check`` leaves out what starts interpreters: no test that is not marked can start one."""

import os
import subprocess
import sys

import pytest

from tests.conftest import MARKER, RunPython

REFUSED = "needs the marker starts_interpreter"
COMMANDS = {
    "this one": [sys.executable, "-c", ""],
    "by its name": ["python3", "-c", ""],
    "behind another": ["env", "X=1", "python3.11", "-c", ""],
    "in a shell": ["sh", "-c", "cd . && python -c ''"],
    "a script of one": ["snakemake", "--version"],
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_test_that_is_not_marked_starts_no_interpreter(kind: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=REFUSED):
        subprocess.run(COMMANDS[kind], check=False)


def test_other_ways_are_closed_too() -> None:
    command = COMMANDS["this one"]
    with pytest.raises(pytest.fail.Exception, match=REFUSED):
        os.system("python3 -c ''")
    with pytest.raises(pytest.fail.Exception, match=REFUSED):
        os.posix_spawn(sys.executable, command, {})
    with pytest.raises(pytest.fail.Exception, match=REFUSED):
        sys.audit("os.exec", sys.executable, command, {})  # os.execv would not come back


@pytest.fixture(scope="module")
def started() -> str:
    try:
        subprocess.run(COMMANDS["this one"], check=False)
    except pytest.fail.Exception as refused:
        return str(refused)
    return "started"


def test_a_fixture_of_many_tests_starts_none_either(started: str) -> None:
    assert REFUSED in started


def test_other_programs_are_started() -> None:
    assert subprocess.run(["sh", "-c", "exit 3"], check=False).returncode == 3


def test_a_test_is_marked_by_what_it_asks_for(
    run_python: RunPython, request: pytest.FixtureRequest
) -> None:
    assert request.node.get_closest_marker(MARKER)
    assert run_python("-c", "print(1)").stdout == "1\n"


def test_others_are_not_marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker(MARKER) is None
