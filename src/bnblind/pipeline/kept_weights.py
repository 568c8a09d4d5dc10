"""The networks that a training job kept, read back from its file of weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bnblind.experiments.training import Cell
from bnblind.pipeline.tensors import read_tensors

KEY = ("dataset", "model", "norm", "batching", "lr")


def by_run(tensors: Mapping[str, Tensor]) -> dict[tuple[str, int, int], dict[str, Tensor]]:
    """The weights of each (key of the cell, seed, epoch), as ``weights_bytes`` named them."""
    found: dict[tuple[str, int, int], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        key, seed, epoch, weight = name.split("/", 3)
        run = key, int(seed.removeprefix("seed")), int(epoch.removeprefix("epoch"))
        found.setdefault(run, {})[weight] = tensor
    return found


def kept_weights(path: Path) -> Iterator[tuple[dict[str, Any], Cell, dict[str, Tensor]]]:
    """Of every kept network of a job: what it is (``KEY``, seed, epoch), its cell, and its
    weights. Cells are in the job's order, seeds and epochs ascend.

    Raises:
        BadInput: the file is truncated or no safetensors file.
    """
    tensors, description = read_tensors(path)
    runs = by_run(tensors)
    for cell in map(Cell.from_settings, description["cells"]):
        what = {name: getattr(cell, name) for name in KEY}
        for run in sorted(run for run in runs if run[0] == cell.key):
            yield what | {"seed": run[1], "epoch": run[2]}, cell, runs[run]
