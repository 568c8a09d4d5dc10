"""Checkpoints of a training job, so that an interrupted one goes on where it was.

A checkpoint lies outside the job's declared outputs, which Snakemake would remove with it. It
names the settings, data and code that it belongs to, and is taken up only by a job of the
same; to the last bit, the job then ends as if it had never been interrupted.
"""

import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from bnblind.errors import BadInput
from bnblind.experiments.runs import Run, by_part
from bnblind.experiments.trainer import Trainer
from bnblind.numerics import DEFAULT, environment
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.tensors import read_tensors, tensors_bytes


def identity_of(settings: str, data: Path) -> str:
    """A hash of all that a job's bits depend on: settings, data, code, libraries, numerics."""
    modules = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "bnblind"}
    files = {str(m.__file__) for m in modules.values() if m.__file__}
    numerics = {name: os.environ.get(name) for name in environment(DEFAULT, 1)}
    contents = [settings.encode(), data.read_bytes(), repr(numerics).encode()]
    contents.append(torch.__version__.encode())
    contents += [Path(file).read_bytes() for file in sorted(files)]
    digests = (hashlib.sha256(content).digest() for content in contents)
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


class Checkpoint:
    """The file ``path``, for a job of the given ``identity``; saved every ``interval`` seconds."""

    def __init__(self, path: Path, identity: str, interval: float = 30.0) -> None:
        self.path, self.identity, self.interval = path, identity, interval
        self.last = time.monotonic()

    def save_if_due(self, finished: list[Run], trainer: Trainer) -> None:
        """Save, unless the last save (or the start) is less than ``interval`` seconds ago."""
        if time.monotonic() - self.last >= self.interval:
            self.save(finished, trainer)
            self.last = time.monotonic()

    def save(self, finished: list[Run], trainer: Trainer) -> None:
        """Replace the checkpoint: the finished seeds' runs, and the one under way."""
        runs = [*finished, trainer.run]
        weights = {
            f"weights/{i}/{epoch}/{name}": tensor
            for i, run in enumerate(runs)
            for epoch, kept in run.weights.items()
            for name, tensor in kept.items()
        }
        description = {
            "identity": self.identity,
            "epoch": trainer.epoch,
            "runs": [
                {"seed": run.seed, "metrics": run.metrics, "batch_order": run.batch_order}
                for run in runs
            ],
        }
        state = {f"state/{name}": tensor for name, tensor in trainer.state().items()}
        publish({self.path: tensors_bytes(weights | state, description)})

    def load(self) -> tuple[list[Run], int, dict[str, Tensor]] | None:
        """Runs, epoch of the last one, and its trainer's state; None if there is nothing to use.

        A damaged checkpoint, or one of other settings, data or code, cannot be used.
        """
        if not self.path.is_file():
            return None
        try:
            tensors, description = read_tensors(self.path)
        except BadInput:
            return None
        if description.get("identity") != self.identity:
            return None
        runs = [
            Run(run["seed"], run["metrics"], batch_order=run["batch_order"])
            for run in description["runs"]
        ]
        parts = by_part(tensors)
        for name, tensor in parts.get("weights", {}).items():
            i, epoch, key = name.split("/", 2)
            runs[int(i)].weights.setdefault(int(epoch), {})[key] = tensor
        return runs, description["epoch"], parts["state"]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
