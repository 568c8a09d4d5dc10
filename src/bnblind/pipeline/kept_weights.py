"""The networks that a training job kept, read back from its file of weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from bnblind.pipeline.tensors import read_tensors

KEY = ("dataset", "model", "norm", "batching", "lr")


def kept_weights(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]]:
    """Of every kept network of a cell: what it is (``KEY``, seed, epoch), the cell's settings,
    and its weights. Seeds and epochs ascend.

    Raises:
        BadInput: the file is truncated or no safetensors file.
    """
    tensors, cell = read_tensors(path)
    by_run: dict[tuple[int, int], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        seed, epoch, weight = name.split("/", 2)
        run = int(seed.removeprefix("seed")), int(epoch.removeprefix("epoch"))
        by_run.setdefault(run, {})[weight] = tensor
    for (number, at), weights in sorted(by_run.items()):
        row = {key: cell[key] for key in KEY} | {"seed": number, "epoch": at}
        yield row, cell, weights
