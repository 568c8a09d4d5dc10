"""Where a network is trained: the processor, or a GPU that no other job on this machine holds."""

import fcntl
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import torch

from bnblind.errors import BadInput

LOCKS = Path(tempfile.gettempdir())
"""Where each GPU that a job has held has a file, for all folders and users of the machine."""
PAUSE = 1.0
"""Seconds between two looks for a free GPU."""


def gpus() -> dict[str, str]:
    """The GPUs that torch sees, ``cuda:0`` and on, each with the number that it has for life."""
    found = range(torch.cuda.device_count())
    return {f"cuda:{n}": str(torch.cuda.get_device_properties(n).uuid) for n in found}


@contextmanager
def claimed(word: str) -> Iterator[torch.device]:
    """The device of a job, for as long as it lasts: ``cpu``; ``cuda:N``, that GPU; or ``cuda``, the
    first that is free. A job waits until its GPU is; raises BadInput if there is no such device.
    """
    if word == "cpu":
        yield torch.device(word)
        return
    known = gpus()
    wanted = [*known] if word == "cuda" else [word]
    if not wanted or wanted[0] not in known:
        raise BadInput(
            f"device: found {word}; allowed on this machine: {', '.join(['cpu', *known])}"
        )
    files = {name: _opened(LOCKS / f"bnblind-{known[name]}.lock") for name in wanted}
    try:
        place = torch.device(_first_free(files))
        torch.cuda.set_device(place)  # whose random numbers are saved and restored
        yield place
        torch.cuda.empty_cache()  # or the next job would lack what this process keeps in reserve
    finally:
        for file in files.values():
            file.close()


def _opened(path: Path) -> TextIO:
    """To be locked; another user's file can be read only, which is enough."""
    if not path.exists():
        with suppress(PermissionError):  # another user was faster
            path.touch()
            path.chmod(0o644)  # despite the umask
    return path.open()


def _first_free(files: Mapping[str, TextIO]) -> str:
    """The name of the first file that could be locked; waits until there is one."""
    while True:
        for name, file in files.items():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return name
        time.sleep(PAUSE)
