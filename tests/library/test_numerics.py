"""Pinned numerics: chosen in one place, applied before any library loads, and asserted."""

import json
import re

import pytest

from bnblind import numerics
from bnblind.numerics import environment

CAPABILITY = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# A step as small as can be: pin, load the libraries, check, say what they do.
STEP = """
import sys
from bnblind import numerics
assert not {"torch", "numpy"} & set(sys.modules)
numerics.pin(MODE, 1)
import numpy, torch
numerics.check(MODE, 1)
print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(),
      torch.are_deterministic_algorithms_enabled(), *sys.argv[1:])
torch.set_num_threads(2)
try:
    numerics.check(MODE, 1)
except RuntimeError as error:
    print(error)
"""


def test_portable_pins_every_library_and_fast_none():
    portable, fast = environment("portable", 1), environment("fast", 1)
    assert set(CAPABILITY) <= set(portable)
    assert not set(CAPABILITY) & set(fast)
    assert "-AVX2" in portable["GLIBC_TUNABLES"]
    assert "GLIBC_TUNABLES" not in fast
    assert {name: portable[name] for name in fast} == fast


@pytest.mark.parametrize("mode", numerics.MODES)
def test_both_modes_set_threads_and_surroundings(mode):
    found = environment(mode, 3)
    assert {found[name] for name in THREADS} == {"3"}
    assert found["PYTHONHASHSEED"] == "0"
    assert found["TZ"] == "UTC"
    assert found["LC_ALL"] == "C.UTF-8"
    assert found["SOURCE_DATE_EPOCH"] == "0"
    assert found["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="unknown numerics 'exact'; allowed: portable, fast"):
        environment("exact", 1)


def test_check_names_what_is_not_set_and_the_remedy(monkeypatch):
    for name, value in environment("portable", 2).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    monkeypatch.delenv("OMP_NUM_THREADS")
    with pytest.raises(RuntimeError) as error:
        numerics.check("portable", 2)
    assert "need MKL_CBWR, OMP_NUM_THREADS set before Python starts" in str(error.value)
    assert "python -m bnblind.numerics portable 2 COMMAND" in str(error.value)


def test_check_refuses_an_unpinned_interpreter(run_python):
    run = run_python("-c", "from bnblind import numerics; numerics.check('portable', 1)")
    assert run.returncode != 0
    assert "ATEN_CPU_CAPABILITY" in run.stderr
    assert "start with: python -m bnblind.numerics portable 1 COMMAND" in run.stderr


def test_pin_restarts_the_interpreter_under_the_mode(run_python, tmp_path):
    """Arguments survive; torch computes on the common instructions, deterministically, on one
    thread; and check notices when that is no longer so.
    """
    script = tmp_path / "step.py"
    script.write_text(STEP.replace("MODE", "'portable'"))
    run = run_python(str(script), "--flag", "two words", OMP_NUM_THREADS="2", MKL_CBWR="AVX2")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "DEFAULT 1 True --flag two words",
        "torch runs 2 threads; expected 1",
    ]


def test_check_finds_libraries_that_were_loaded_too_early(run_python):
    """The variables are right but came after the libraries had chosen their instructions."""
    late = (
        "import torch, numpy, os; from bnblind import numerics;"
        "fast = torch.backends.cpu.get_cpu_capability() != 'DEFAULT';"
        "os.environ |= numerics.environment('portable', 1);"
        "print('fast' if fast else 'no choice', flush=True);"
        "numerics.check('portable', 1)"
    )
    run = run_python("-c", late)
    if run.stdout.strip() == "no choice":
        pytest.skip("this processor has only the common instructions")
    assert run.returncode != 0
    assert re.search("portable numerics: (NumPy dispatches|torch uses)", run.stderr)


def test_a_step_pins_itself_and_ends_with_one_line_on_bad_input(run_python, registered, tmp_path):
    """Started by hand in a user's environment; without the pin the check would come first."""
    changed = json.dumps({**registered, "sha256": "0" * 64})
    run = run_python(
        *("-m", "bnblind.pipeline", "export_data"),
        *("--registered", changed, "--raw", str(tmp_path / "raw")),
        TZ="Asia/Tokyo",
    )
    assert run.returncode == 1
    assert re.fullmatch(r"error: package:sklearn.*sha256 is .*, expected 0+;.*\n", run.stderr)
    assert not list(tmp_path.iterdir())


def test_command_line_runs_any_command_in_the_mode(run_python):
    show = "import os; print(os.environ['ATEN_CPU_CAPABILITY'], os.environ['OMP_NUM_THREADS'])"
    run = run_python("-m", "bnblind.numerics", "portable", "2", "python3", "-c", show)
    assert (run.returncode, run.stdout) == (0, "default 2\n")


@pytest.mark.parametrize("args", [[], ["portable", "1"], ["exact", "1", "ls"], ["fast", "x", "ls"]])
def test_command_line_explains_itself(args):
    with pytest.raises(SystemExit, match=r"usage: .* \{portable,fast\} THREADS"):
        numerics.main(args)
