"""Checkpoints of a job, so that an interrupted one goes on where it was.

A checkpoint lies outside the job's declared outputs, which Snakemake would remove with it. It
names the settings, data and code that it belongs to, and is taken up only by a job of the
same; to the last bit, the job then ends as if it had never been interrupted.
"""

import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import torch

from bnblind.errors import BadInput
from bnblind.experiments.runs import Run, Weights, by_part
from bnblind.experiments.trainer import Trainer
from bnblind.numerics import DEFAULT, environment
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.tensors import read_tensors, tensors_bytes


def identity_of(settings: str, *files: Path, device: str = "cpu") -> str:
    """A hash of all that a job's bits depend on: settings, the files that it reads, code that is
    loaded, libraries, numerics, and the kind of a GPU.
    """
    modules = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "bnblind"}
    code = {str(m.__file__) for m in modules.values() if m.__file__}
    numerics = {name: os.environ.get(name) for name in environment(DEFAULT, 1)}
    told = [settings.encode(), repr(numerics).encode(), torch.__version__.encode()]
    if device != "cpu":
        told.append(f"{torch.cuda.get_device_name(device)}, {torch.version.cuda}".encode())
    digests = [hashlib.sha256(content).digest() for content in told]
    for file in (*files, *map(Path, sorted(code))):
        digests.append(hashlib.sha256(file.read_bytes()).digest())
    return hashlib.sha256(b"".join(digests)).hexdigest()


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold ``path``'s lock; raise BadInput if another process, such as an orphan, holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The lock's file stays: removing it would let two processes hold locks of the same name.
    with path.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"another process is using {path}; wait for it or stop it") from error
        yield


class Pieces:
    """What a job of the given ``identity`` computes piece by piece, rows of numbers and texts; each
    piece is kept in a file beside ``path``, so that an interrupted job computes none twice. Code
    that a piece depends on is loaded before it is asked for. ``spent``: the CPU seconds of the
    pieces that an earlier process computed.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity, self.number, self.spent = path, identity, 0, 0.0

    def next(self, compute: Callable[[], Any]) -> Any:
        """The next piece: as it was kept, or else what ``compute`` returns, which is then kept."""
        path = self.path.with_name(f"{self.path.name}.{self.number}")
        identity = identity_of(self.identity)
        self.number += 1
        try:
            kept, rows, seconds = json.loads(path.read_bytes())
            if kept == identity:
                self.spent += seconds
                return rows
        except (OSError, ValueError, TypeError):
            pass
        started = time.process_time()
        content = json.dumps([identity, compute(), time.process_time() - started])
        publish({path: content.encode()})
        return json.loads(content)[1]

    def remove(self) -> None:
        _remove_numbered(self.path)


def _remove_numbered(path: Path) -> None:
    for numbered in path.parent.glob(f"{escape(path.name)}.[0-9]*"):
        numbered.unlink(missing_ok=True)


class Checkpoint:
    """For a job of the given ``identity``, saved every ``interval`` seconds: the file ``path`` with
    the run under way, and beside it one for each finished run, which is written once. ``spent``:
    the CPU seconds of the processes before this one, until each last saved.
    """

    def __init__(self, path: Path, identity: str, interval: float = 20.0) -> None:
        self.path, self.identity, self.interval = path, identity, interval
        self.last, self.written, self.spent = time.monotonic(), 0, 0.0

    def save_if_due(self, finished: list[Run], trainer: Trainer) -> None:
        """Save, unless the last save (or the start) is less than ``interval`` seconds ago."""
        if time.monotonic() - self.last >= self.interval:
            self.save(finished, trainer)
            self.last = time.monotonic()

    def save(self, finished: list[Run], trainer: Trainer) -> None:
        """Write the finished runs that are not written yet, and replace the one under way."""
        for number in range(self.written, len(finished)):
            publish({self.of_run(number): self._bytes(finished[number], number, {})})
        self.written = len(finished)
        state = {f"state/{name}": tensor for name, tensor in trainer.state().items()}
        told = {"epoch": trainer.epoch, "spent": self.spent + time.process_time()}
        content = self._bytes(trainer.run, len(finished), state, **told)
        publish({self.path: content})

    def of_run(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _bytes(self, run: Run, number: int, state: Weights, **more: float) -> bytes:
        weights = {
            f"weights/{epoch}/{name}": tensor
            for epoch, kept in run.weights.items()
            for name, tensor in kept.items()
        }
        told = {"seed": run.seed, "metrics": run.metrics, "batch_order": run.batch_order}
        description = {"identity": self.identity, "number": number, "run": told, **more}
        return tensors_bytes(weights | state, description)

    def _read(self, path: Path, number: int | None = None) -> tuple[Run, dict[str, Any], Weights]:
        """A run, what its file says of it, and the trainer's state if it has one; raises BadInput
        if it cannot be used.
        """
        tensors, description = read_tensors(path)
        own = self.identity, description.get("number") if number is None else number
        if (description.get("identity"), description.get("number")) != own:
            raise BadInput(f"{path} is of another job")
        told, parts = description["run"], by_part(tensors)
        run = Run(told["seed"], told["metrics"], batch_order=told["batch_order"])
        for name, tensor in parts.get("weights", {}).items():
            epoch, key = name.split("/", 1)
            run.weights.setdefault(int(epoch), {})[key] = tensor
        return run, description, parts.get("state", {})

    def load(self) -> tuple[list[Run], int, Weights] | None:
        """Runs, epoch of the last one, and its trainer's state; None if there is nothing to use,
        such as a damaged checkpoint, or one of other settings, data or code.
        """
        if not self.path.is_file():
            return None
        try:
            run, description, state = self._read(self.path)
            numbers = range(description["number"])
            finished = [self._read(self.of_run(number), number)[0] for number in numbers]
        except (BadInput, OSError):
            return None
        self.written, self.spent = len(finished), description["spent"]
        return [*finished, run], description["epoch"], state

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        _remove_numbered(self.path)
