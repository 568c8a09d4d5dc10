"""The weights that a training job keeps, as a file; and read back from it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from bnblind.experiments.cells import Cell
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.runs import Run
from bnblind.pipeline.formats.tensors import read_tensors, tensors_bytes


def weights_bytes(trained: Iterable[tuple[Cell, Run]]) -> bytes:
    """All kept weights of a job's cells, and the cells' settings but for the device. Tensors are
    named ``KEY/seed10/epoch012/NAME``, KEY the cell's.
    """
    tensors, cells = {}, {}
    for cell, run in trained:
        cells[cell.key] = replace(cell, device=Cell.device).settings()
        for epoch, weights in run.weights.items():
            for name, tensor in weights.items():
                tensors[f"{cell.key}/seed{run.seed}/epoch{epoch:03d}/{name}"] = tensor
    return tensors_bytes(tensors, {"cells": list(cells.values())})


def by_run(tensors: Mapping[str, Tensor]) -> dict[tuple[str, int, int], dict[str, Tensor]]:
    """The weights of each (key of the cell, seed, epoch), as :func:`weights_bytes` named them."""
    found: dict[tuple[str, int, int], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        key, seed, epoch, weight = name.split("/", 3)
        run = key, int(seed.removeprefix("seed")), int(epoch.removeprefix("epoch"))
        found.setdefault(run, {})[weight] = tensor
    return found


def kept_networks(path: Path) -> Iterator[tuple[dict[str, Any], NetworkCell, dict[str, Tensor]]]:
    """Of every kept network of a job: what it is (identity, seed, epoch), its cell, and its
    weights. Cells are in the job's order, seeds and epochs ascend. Raises BadInput for a file that
    was altered.
    """
    tensors, description = read_tensors(path)
    runs = by_run(tensors)
    for cell in map(NetworkCell.from_settings, description["cells"]):
        for run in sorted(run for run in runs if run[0] == cell.key):
            yield cell.identity | {"seed": run[1], "epoch": run[2]}, cell, runs[run]
