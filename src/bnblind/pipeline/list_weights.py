"""Step: check every file of weights, and list them with their hashes."""

import argparse
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bnblind.errors import BadInput
from bnblind.experiments.flows.training import FlowCell
from bnblind.experiments.training import Cell
from bnblind.pipeline.files import json_bytes, publish
from bnblind.pipeline.kept_weights import by_run
from bnblind.pipeline.tensors import read_tensors

Kept = dict[str, dict[str, list[int]]]
"""The key of a cell -> the name of a seed -> epochs."""


def _kept(tensors: Mapping[str, Tensor]) -> Kept:
    found: Kept = {}
    for key, seed, epoch in sorted(by_run(tensors)):
        found.setdefault(key, {}).setdefault(f"seed{seed}", []).append(epoch)
    return found


def promised_by_networks(settings: Mapping[str, Any], _: Kept) -> Kept:
    """Every seed at its start, its snapshots and its end."""
    cell = Cell.from_settings(settings)
    epochs = sorted({0, *cell.snapshots, cell.epochs})
    return {cell.key: {f"seed{seed}": epochs for seed in sorted(cell.seeds)}}


def promised_by_flows(settings: Mapping[str, Any], found: Kept) -> Kept:
    """Every seed at one epoch, its best; which one only the training knows."""
    cell = FlowCell.from_settings(settings)
    best = {seed: epochs[:1] for seed, epochs in found.get(cell.key, {}).items()}
    return {cell.key: {f"seed{seed}": best.get(f"seed{seed}", [1]) for seed in sorted(cell.seeds)}}


def entry_of(path: Path, promised_by: Callable[[Mapping[str, Any], Kept], Kept]) -> dict[str, Any]:
    """Hash, size and contents of a job's weights.

    Raises:
        BadInput: the file is truncated, or holds other weights than its own settings promise.
    """
    tensors, description = read_tensors(path)
    found = _kept(tensors)
    promised: Kept = {}
    for settings in description["cells"]:
        promised |= promised_by(settings, found)
    if found != promised:
        raise BadInput(f"{path} holds {found}; its settings promise {promised}")
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "epochs": found}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="list_weights", description=__doc__)
    parser.add_argument("--networks", type=Path, nargs="*", required=True, help="files to check")
    parser.add_argument("--flows", type=Path, nargs="*", required=True, help="files to check")
    parser.add_argument("--listing", type=Path, required=True, help="listing to write")
    args = parser.parse_args(argv)
    networks = {str(path): entry_of(path, promised_by_networks) for path in args.networks}
    flows = {str(path): entry_of(path, promised_by_flows) for path in args.flows}
    publish({args.listing: json_bytes(networks | flows)})
    print(f"{args.listing}: {len(networks | flows)} files of weights")
