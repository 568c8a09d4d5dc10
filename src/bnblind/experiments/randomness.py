"""Named random streams: one seed per run, one independent stream for each use of it."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


def stream_seed(seed: int, *names: str | int) -> int:
    """A seed for the stream called ``names`` of the run ``seed``, the same on every machine."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(seed, *names))


@contextmanager
def global_stream(seed: int, *names: str | int) -> Iterator[None]:
    """Run code that draws from torch's global generators (layer initialization) on a stream; those
    of the processor and of a GPU in use are as before afterwards.
    """
    used = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=used):
        torch.manual_seed(stream_seed(seed, *names))
        yield


def random_state() -> dict[str, Tensor]:
    """Of the global generators, of the processor and of a GPU in use, by the kind of device."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {})


def set_random_state(state: Mapping[str, Tensor]) -> None:
    """Set the generators to what :func:`random_state` was; those that it lacks stay as they are."""
    if "cpu" in state:
        torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
