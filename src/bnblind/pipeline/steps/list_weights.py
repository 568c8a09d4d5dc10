"""Step: check every file of weights, and list them with their hashes."""

import hashlib
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell, cell_type
from bnblind.pipeline.formats.files import json_bytes, publish
from bnblind.pipeline.formats.tensors import read_tensors
from bnblind.pipeline.formats.weights import by_run
from bnblind.pipeline.options import parse

Kept = dict[str, dict[str, list[int]]]
"""The key of a cell -> the name of a seed -> epochs."""


def entry_of(path: Path, kind: type[Cell]) -> dict[str, Any]:
    """Hash, size and contents of a job's weights; raises BadInput for a file that was altered, or
    holds other weights than its own settings promise.
    """
    tensors, description = read_tensors(path)
    found: Kept = {}
    for key, seed, epoch in sorted(by_run(tensors)):
        found.setdefault(key, {}).setdefault(f"seed{seed}", []).append(epoch)
    promised: Kept = {}
    for cell in map(kind.from_settings, description["cells"]):
        own, names = found.get(cell.key, {}), [f"seed{seed}" for seed in sorted(cell.seeds)]
        promised[cell.key] = {name: cell.kept_epochs(own.get(name, [])) for name in names}
    if found != promised:
        raise BadInput(f"{path} holds {found}; its settings promise {promised}")
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "epochs": found}


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, words="kinds", file="listing", files="weights")
    entries = {
        str(path): entry_of(path, cell_type(kind))
        for kind, path in zip(args.kinds, args.weights, strict=True)
    }
    publish({args.listing: json_bytes(entries)})
    print(f"{args.listing}: {len(entries)} files of weights")
