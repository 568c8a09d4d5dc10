"""Step: check every file of weights, and list them with their hashes."""

import argparse
import hashlib
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.experiments.training import Cell
from bnblind.pipeline.files import json_bytes, publish
from bnblind.pipeline.tensors import read_tensors


def entry_of(path: Path) -> dict[str, Any]:
    """Hash, size and contents of a cell's weights.

    Raises:
        BadInput: the file is truncated, or lacks weights that its own settings promise.
    """
    tensors, settings = read_tensors(path)
    cell = Cell.from_settings(settings)
    epochs = sorted({0, *cell.snapshots, cell.epochs})
    expected = {f"seed{seed}/epoch{epoch:03d}" for seed in cell.seeds for epoch in epochs}
    found = {"/".join(name.split("/")[:2]) for name in tensors}
    if found != expected:
        raise BadInput(f"{path} holds {sorted(found)}; its settings promise {sorted(expected)}")
    content = path.read_bytes()
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "seeds": list(cell.seeds),
        "epochs": epochs,
    }


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="list_weights", description=__doc__)
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="files to check")
    parser.add_argument("--listing", type=Path, required=True, help="listing to write")
    args = parser.parse_args(argv)
    publish({args.listing: json_bytes({str(path): entry_of(path) for path in args.weights})})
    print(f"{args.listing}: {len(args.weights)} files of weights")
