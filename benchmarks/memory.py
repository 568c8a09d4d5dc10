"""Peak memory of a call, in a process of its own."""

import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

MIB = 2**20


def _resident(which: str) -> int:
    """Bytes of this process: ``VmRSS`` now, ``VmHWM`` at most so far."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def _measure(setup: Callable[[], Callable[[], object]]) -> int:
    torch.set_num_threads(1)
    call = setup()
    Path("/proc/self/clear_refs").write_text("5")  # what setup took at most does not count
    before = _resident("VmRSS")
    kept = call()
    after = _resident("VmHWM")
    del kept
    return after - before


def peak(setup: Callable[[], Callable[[], object]]) -> float:
    """MiB that the call made by ``setup`` needs at most beyond what ``setup`` has allocated.

    The result of the call counts. ``setup`` must be a function of a module.
    """
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, fresh) as pool:
        return pool.submit(_measure, setup).result() / MIB
