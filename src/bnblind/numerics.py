"""The one place that decides how numbers are computed.

Thread counts and CPU instruction sets change the last bits of floating-point results, and
training amplifies them. Both are chosen by environment variables that libraries read once,
when they are loaded; so a step calls :func:`pin` before it loads any of them, and
:func:`check` afterwards. The levels are those of the x86-64 ABI and keep every library on the
instructions of all processors of the level: ``x86-64-v3`` has AVX2 and FMA, as processors have
since 2013, ``x86-64-v2`` neither. ``fast`` leaves the choice to the libraries.

    python -m bnblind.numerics x86-64-v3 1 COMMAND ...

runs any command, such as ``jupyter lab``, in the environment of a pipeline step.
"""

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bnblind.errors import BadInput, unknown


@dataclass(frozen=True)
class Level:
    """What holds the libraries to a level of the x86-64 ABI.

    Attributes:
        variables: of the environment.
        capability: which torch then says it uses.
        numpy: the features above its baseline to which NumPy then dispatches.
        flags: of a processor of the level, as Linux names them, that not all x86-64 have.
    """

    variables: Mapping[str, str]
    capability: str
    numpy: frozenset[str]
    flags: frozenset[str] = frozenset()


def _without(*features: str) -> str:
    return "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in features)


_AVX512 = ("AVX512F", "AVX512VL", "AVX512DQ", "AVX512BW", "AVX512CD")
_MKL = {"MKL_CBWR": "COMPATIBLE"}
"""At every level: MKL's other branches are other code on processors that are not Intel's."""

# NumPy dispatches to X86_V3, X86_V4 and newer above its baseline; :func:`check` finds a name
# that is missing here.
LEVELS = {
    "x86-64-v2": Level(
        {
            **_MKL,
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "OPENBLAS_CORETYPE": "Nehalem",
            "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
            "GLIBC_TUNABLES": _without("AVX2", "AVX", "FMA", *_AVX512),
        },
        "DEFAULT",
        frozenset(),
    ),
    "x86-64-v3": Level(
        {
            **_MKL,
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
            "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
            "GLIBC_TUNABLES": _without(*_AVX512),
        },
        "AVX2",
        frozenset({"X86_V3"}),
        frozenset({"avx2", "bmi2", "fma"}),
    ),
}
MODES = (*LEVELS, "fast")
DEFAULT = "x86-64-v3"
CPU_INFO = Path("/proc/cpuinfo")
"""Where Linux names the processor's features."""

_ALWAYS = {
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "SOURCE_DATE_EPOCH": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0",
    "MKL_DYNAMIC": "FALSE",
    # Nothing uses joblib's processes, and it warns on machines that refuse it a semaphore.
    "JOBLIB_MULTIPROCESSING": "0",
}

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def environment(mode: str, threads: int) -> dict[str, str]:
    """The variables that a step of this mode and thread count runs under."""
    if mode not in MODES:
        raise unknown("numerics", mode, MODES)
    if threads < 1:
        raise BadInput(f"the number of threads must be >= 1; found {threads}")
    chosen = LEVELS[mode].variables if mode in LEVELS else {}
    return {**_ALWAYS, **chosen, **dict.fromkeys(_THREADS, str(threads))}


def _differing(variables: Mapping[str, str]) -> list[str]:
    return [name for name, value in variables.items() if os.environ.get(name) != value]


def refuse_unless_supported(mode: str) -> None:
    """Raise BadInput if this processor is not of the level: libraries that are told to use
    instructions which it lacks die without a word.
    """
    if mode not in LEVELS:
        return
    if platform.machine() not in ("x86_64", "AMD64"):
        raise BadInput(
            f"numerics '{mode}' is of x86-64 processors; this is {platform.machine()}: use "
            "'fast' (make reproduce NUMERICS=fast)"
        )
    flags = LEVELS[mode].flags
    if CPU_INFO.is_file() and (lacking := flags - set(CPU_INFO.read_text().split())):
        raise BadInput(
            f"this processor has no {', '.join(sorted(lacking))}, which numerics '{mode}' needs: "
            "use 'x86-64-v2', which gives other last bits (make reproduce NUMERICS=x86-64-v2)"
        )


def pin(mode: str, threads: int) -> None:
    """Re-execute this interpreter once under :func:`environment`, unless it is already there. Call
    it before any numerical library is imported; nothing before the call survives.
    """
    wanted = environment(mode, threads)
    refuse_unless_supported(mode)
    if _differing(wanted):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})


def _check_level(mode: str, level: Level) -> None:
    if "numpy" in sys.modules:
        from numpy._core import _multiarray_umath as core  # type: ignore[attr-defined]

        used = {name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]}
        if used != level.numpy:
            raise RuntimeError(
                f"numerics '{mode}': NumPy dispatches to {sorted(used) or 'none'}; "
                f"expected {sorted(level.numpy) or 'none'}"
            )
    if "torch" in sys.modules:
        import torch

        capability = torch.backends.cpu.get_cpu_capability()
        if capability != level.capability:
            raise RuntimeError(
                f"numerics '{mode}': torch uses {capability}; expected {level.capability}"
            )


def check(mode: str, threads: int) -> None:
    """Assert that the loaded libraries compute as the mode says, and make torch deterministic; the
    RuntimeError says which of them, or of the variables, differs and how.
    """
    if differing := _differing(environment(mode, threads)):
        raise RuntimeError(
            f"numerics '{mode}' need {', '.join(differing)} set before Python starts; "
            f"start with: python -m bnblind.numerics {mode} {threads} COMMAND"
        )
    if mode in LEVELS:
        _check_level(mode, LEVELS[mode])
    if "torch" in sys.modules:
        import torch

        if torch.get_num_threads() != threads:
            raise RuntimeError(f"torch runs {torch.get_num_threads()} threads; expected {threads}")
        # The same as use_deterministic_algorithms(True), which would load torch's compiler.
        torch.set_deterministic_debug_mode("error")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def main(argv: list[str]) -> None:
    if len(argv) < 3 or argv[0] not in MODES or not argv[1].isdecimal():
        usage = f"python -m bnblind.numerics {{{','.join(MODES)}}} THREADS COMMAND ..."
        raise SystemExit(f"usage: {usage}")
    try:
        refuse_unless_supported(argv[0])
        os.execvpe(argv[2], argv[2:], {**os.environ, **environment(argv[0], int(argv[1]))})
    except BadInput as error:
        raise SystemExit(f"error: {error}") from error
    except OSError as error:
        raise SystemExit(f"error: {argv[2]}: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
