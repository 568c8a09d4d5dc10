"""Pinned numerics: chosen in one place, applied before any library loads, and asserted."""

import json
import re

import pytest

from bnblind import numerics
from bnblind.errors import BadInput
from bnblind.numerics import DEFAULT, environment

CAPABILITY = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# A step as small as can be: pin, load the libraries, check, say what they do.
STEP = """
import sys
from bnblind import numerics
assert not {"torch", "numpy"} & set(sys.modules)
numerics.pin(MODE, 1)
import numpy, torch
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
numerics.check(MODE, 1)
print(torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(),
      torch.are_deterministic_algorithms_enabled(), *sys.argv[1:])
torch.set_num_threads(2)
try:
    numerics.check(MODE, 1)
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize("level", numerics.LEVELS)
def test_a_level_pins_every_library_and_fast_none(level):
    pinned, fast = environment(level, 1), environment("fast", 1)
    assert set(CAPABILITY) <= set(pinned)
    assert not set(CAPABILITY) & set(fast)
    assert "-AVX512F" in pinned["GLIBC_TUNABLES"]
    assert ("-AVX2," in pinned["GLIBC_TUNABLES"]) == (level == "x86-64-v2")
    assert "GLIBC_TUNABLES" not in fast
    assert {name: pinned[name] for name in fast} == fast


@pytest.mark.parametrize("mode", numerics.MODES)
def test_all_modes_set_threads_and_surroundings(mode):
    found = environment(mode, 3)
    assert {found[name] for name in THREADS} == {"3"}
    assert found["PYTHONHASHSEED"] == "0"
    assert found["TZ"] == "UTC"
    assert found["LC_ALL"] == "C.UTF-8"
    assert found["SOURCE_DATE_EPOCH"] == "0"
    assert found["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert found["TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"] == "0"


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'exact'; allowed: x86-64-v2, x86-64-v3, fast"):
        environment("exact", 1)


def test_check_names_what_is_not_set_and_the_remedy(monkeypatch):
    for name, value in environment(DEFAULT, 2).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    monkeypatch.delenv("OMP_NUM_THREADS")
    with pytest.raises(RuntimeError) as error:
        numerics.check(DEFAULT, 2)
    assert "need MKL_CBWR, OMP_NUM_THREADS set before Python starts" in str(error.value)
    assert "python -m bnblind.numerics x86-64-v3 2 COMMAND" in str(error.value)


def test_check_refuses_an_unpinned_interpreter(run_python):
    run = run_python("-c", "from bnblind import numerics; numerics.check('x86-64-v3', 1)")
    assert run.returncode != 0
    assert "ATEN_CPU_CAPABILITY" in run.stderr
    assert "start with: python -m bnblind.numerics x86-64-v3 1 COMMAND" in run.stderr


@pytest.mark.parametrize("level", numerics.LEVELS)
def test_pin_restarts_the_interpreter_under_the_mode(level, run_python, tmp_path):
    """Arguments survive; torch computes on the level's instructions, deterministically, on one
    thread; and check notices when that is no longer so.
    """
    script = tmp_path / "step.py"
    script.write_text(STEP.replace("MODE", repr(level)))
    run = run_python(str(script), "--flag", "two words", OMP_NUM_THREADS="2", MKL_CBWR="AVX2")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "False False",
        f"{numerics.LEVELS[level].capability} 1 True --flag two words",
        "torch runs 2 threads; expected 1",
    ]


def test_check_finds_libraries_that_were_loaded_too_early(run_python):
    """The variables are right but came after the libraries had chosen their instructions."""
    late = (
        "import torch, numpy, os; from bnblind import numerics;"
        "fast = torch.backends.cpu.get_cpu_capability() != 'DEFAULT';"
        "os.environ |= numerics.environment('x86-64-v2', 1);"
        "print('fast' if fast else 'no choice', flush=True);"
        "numerics.check('x86-64-v2', 1)"
    )
    run = run_python("-c", late)
    if run.stdout.strip() == "no choice":
        pytest.skip("this processor has only the common instructions")
    assert run.returncode != 0
    assert re.search("numerics 'x86-64-v2': (NumPy dispatches|torch uses)", run.stderr)


def test_a_step_pins_itself_and_ends_with_one_line_on_bad_input(run_python, registered, tmp_path):
    """Started by hand in a user's environment; without the pin the check would come first."""
    changed = json.dumps({**registered["files"]["digits.csv.gz"], "sha256": "0" * 64})
    run = run_python(
        *("-m", "bnblind.pipeline", "export_data"),
        *("--dataset", "digits", "--registered", changed, "--raw", str(tmp_path / "raw.gz")),
        TZ="Asia/Tokyo",
    )
    assert run.returncode == 1
    assert re.fullmatch(
        r"(?s)error: digits: raw.gz could not be had:\n.*sha256 is .*, expected 0+;.*\n", run.stderr
    )
    assert not list(tmp_path.iterdir())


def test_command_line_runs_any_command_in_the_mode(run_python):
    show = "import os; print(os.environ['ATEN_CPU_CAPABILITY'], os.environ['OMP_NUM_THREADS'])"
    run = run_python("-m", "bnblind.numerics", "x86-64-v2", "2", "python3", "-c", show)
    assert (run.returncode, run.stdout) == (0, "default 2\n")


@pytest.mark.parametrize("args", [[], ["fast", "1"], ["exact", "1", "ls"], ["fast", "x", "ls"]])
def test_command_line_explains_itself(args):
    with pytest.raises(SystemExit, match=r"usage: .* \{x86-64-v2,x86-64-v3,fast\} THREADS"):
        numerics.main(args)


def test_another_kind_of_processor_is_told_what_it_can_use(monkeypatch):
    monkeypatch.setattr(numerics.platform, "machine", lambda: "arm64")
    numerics.refuse_unless_supported("fast")
    with pytest.raises(BadInput, match="is of x86-64 processors; this is arm64: use 'fast'"):
        numerics.refuse_unless_supported("x86-64-v2")


def test_a_processor_below_the_level_is_refused_before_a_library_dies_of_it(monkeypatch, tmp_path):
    old = tmp_path / "cpuinfo"
    old.write_text("flags\t\t: fpu sse4_2 popcnt avx fma\n")
    monkeypatch.setattr(numerics, "CPU_INFO", old)
    numerics.refuse_unless_supported("x86-64-v2")
    expected = "no avx2, bmi2, which numerics 'x86-64-v3' needs: use 'x86-64-v2'"
    with pytest.raises(BadInput, match=expected):
        numerics.pin("x86-64-v3", 1)
    with pytest.raises(SystemExit, match=f"error: this processor has {expected}"):
        numerics.main(["x86-64-v3", "1", "true"])
