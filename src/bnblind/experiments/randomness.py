"""Named random streams: one seed per run, one independent stream for each use of it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def stream_seed(seed: int, *names: str | int) -> int:
    """A seed for the stream called ``names`` of the run ``seed``, the same on every machine."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> torch.Generator:
    """The generator of the stream called ``names``."""
    return torch.Generator().manual_seed(stream_seed(seed, *names))


@contextmanager
def global_stream(seed: int, *names: str | int) -> Iterator[None]:
    """Run code that draws from torch's global generator (layer initialization) on a stream.

    The global generators, of the processor and of a GPU in use, are as before afterwards.
    """
    used = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=used):
        torch.manual_seed(stream_seed(seed, *names))
        yield
