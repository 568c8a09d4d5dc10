"""The one place that decides how numbers are computed.

Thread counts and CPU instruction sets change the last bits of floating-point results, and
training amplifies them. Both are chosen by environment variables that libraries read once,
when they are loaded; so a step calls :func:`pin` before it loads any of them, and
:func:`check` afterwards. ``portable`` keeps every library on the instructions that all
x86-64 machines since 2008 have in common; ``fast`` leaves the choice to the libraries.

    python -m bnblind.numerics portable 1 COMMAND ...

runs any command, such as ``jupyter lab``, in the environment of a pipeline step.
"""

import os
import sys
from collections.abc import Mapping

from bnblind.errors import BadInput, unknown

MODES = ("portable", "fast")

# NumPy dispatches to these above its baseline (X86_V2); :func:`check` finds a missing name.
_NUMPY_DISPATCH = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
_GLIBC_OFF = ("AVX2", "AVX", "FMA", "AVX512F", "AVX512VL", "AVX512DQ", "AVX512BW", "AVX512CD")

_PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": _NUMPY_DISPATCH,
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in _GLIBC_OFF),
}

_ALWAYS = {
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "SOURCE_DATE_EPOCH": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "MKL_DYNAMIC": "FALSE",
}

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def environment(mode: str, threads: int) -> dict[str, str]:
    """The variables that a step of this mode and thread count runs under."""
    if mode not in MODES:
        raise unknown("numerics", mode, MODES)
    if threads < 1:
        raise BadInput(f"the number of threads must be >= 1; found {threads}")
    chosen = _PORTABLE if mode == "portable" else {}
    return {**_ALWAYS, **chosen, **dict.fromkeys(_THREADS, str(threads))}


def _is_set(variables: Mapping[str, str]) -> bool:
    return all(os.environ.get(name) == value for name, value in variables.items())


def pin(mode: str, threads: int) -> None:
    """Re-execute this interpreter once under :func:`environment`, unless it is already there.

    Call it before any numerical library is imported; nothing before the call survives.
    """
    wanted = environment(mode, threads)
    if not _is_set(wanted):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})


def check(mode: str, threads: int) -> None:
    """Assert that the loaded libraries compute as the mode says, and make torch deterministic.

    Raises:
        RuntimeError: the environment or a library differs; the message says which and how.
    """
    wanted = environment(mode, threads)
    if not _is_set(wanted):
        differing = [name for name, value in wanted.items() if os.environ.get(name) != value]
        raise RuntimeError(
            f"numerics '{mode}' need {', '.join(differing)} set before Python starts; "
            f"start with: python -m bnblind.numerics {mode} {threads} COMMAND"
        )
    if "numpy" in sys.modules and mode == "portable":
        from numpy._core import _multiarray_umath as core  # type: ignore[attr-defined]

        used = [name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]]
        if used:
            raise RuntimeError(f"portable numerics: NumPy dispatches to {used}; expected none")
    if "torch" in sys.modules:
        import torch

        capability = torch.backends.cpu.get_cpu_capability()
        if mode == "portable" and capability != "DEFAULT":
            raise RuntimeError(f"portable numerics: torch uses {capability}; expected DEFAULT")
        if torch.get_num_threads() != threads:
            raise RuntimeError(f"torch runs {torch.get_num_threads()} threads; expected {threads}")
        # The same as use_deterministic_algorithms(True), which would load torch's compiler.
        torch.set_deterministic_debug_mode("error")


def main(argv: list[str]) -> None:
    if len(argv) < 3 or argv[0] not in MODES or not argv[1].isdecimal():
        raise SystemExit("usage: python -m bnblind.numerics {portable,fast} THREADS COMMAND ...")
    try:
        os.execvpe(argv[2], argv[2:], {**os.environ, **environment(argv[0], int(argv[1]))})
    except (BadInput, OSError) as error:
        raise SystemExit(f"error: {argv[2]}: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
