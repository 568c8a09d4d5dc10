"""Levels of numerics: every processor of a level computes the same bytes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bnblind.numerics import DEFAULT
from tests.helpers.clones import Clone, user_environment
from tests.helpers.commit import by_commit
from tests.helpers.scripts import import_script

other = import_script("other_processor")
EMULATED = [(level, cpu) for level, cpus in other.PROCESSORS.items() for cpu in cpus]

needs_emulator = pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None, reason="needs qemu-x86_64 (Debian package qemu-user)"
)


@needs_emulator
@pytest.mark.starts_interpreter
@pytest.mark.parametrize(("level", "processor"), EMULATED)
def test_an_emulated_processor_has_what_its_level_says(level: str, processor: str) -> None:
    """And no AVX-512, so that the next test compares with something else than most machines."""
    code = (
        "from numpy._core._multiarray_umath import __cpu_features__ as f;"
        "print(f['AVX'], f['X86_V3'], f['X86_V4'])"
    )
    printed = subprocess.run(
        [*other.interpreter(processor), "-c", code],
        env=user_environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    expected = ["False"] * 3 if level == "x86-64-v2" else ["True", "True", "False"]
    assert printed.split() == expected


@needs_emulator
def test_another_processor_of_the_default_level_computes_the_same_bytes(
    first: Clone, tmp_path: Path
) -> None:
    """Of another maker than this machine's, where there is one: a quarter of the steps, others for
    each commit; all of them on this one. `make certify` takes all steps, all processors, and the
    other level.
    """
    level = DEFAULT
    of_amd = "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    processor = other.PROCESSORS[level][0 if of_amd else -1]
    source, prepared = first.path / "src", first.path / "data/prepared/digits.safetensors"
    further = range(1, len(other.commands(prepared)))
    chosen = [0, *by_commit(further, len(further) // 4)]
    native = other.run_steps(level, other.NATIVE, source, prepared, tmp_path / "native")
    found = other.run_steps(level, processor, source, prepared, tmp_path / processor, chosen)
    assert len(found) >= len(chosen)
    assert found == {name: native[name] for name in found}
