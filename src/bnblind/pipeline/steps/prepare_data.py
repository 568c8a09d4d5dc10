"""Step: raw files to a fixed split in data/prepared, with a manifest."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bnblind.errors import BadInput
from bnblind.experiments.datasets import SPLITS
from bnblind.experiments.preparation import pooled, read_samples, split_dataset
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.prepared import dataset_bytes
from bnblind.pipeline.formats.seal import sealed_json
from bnblind.pipeline.options import parse
from bnblind.pipeline.sources import fault

TOLD = ("title", "version", "licence", "citation", "shape", "classes", "levels")
REMEDY = "delete it and call `make run`, which makes it again"


def check_as_registered(
    name: str, pixels: Tensor, labels: Tensor, entry: Mapping[str, Any]
) -> None:
    """Raise BadInput unless shape, classes and grey values are the registered ones."""
    found = {"shape": list(pixels.shape[1:]), "classes": len(labels.unique())}
    registered = {key: entry[key] for key in found}
    if found != registered:
        raise BadInput(f"{name}: the raw files hold {found}, expected {registered}")
    if (largest := int(pixels.max())) >= entry["levels"]:
        raise BadInput(
            f"{name}: the raw files hold grey values up to {largest}, expected 0 to "
            f"{entry['levels'] - 1}"
        )


def main(argv: list[str]) -> None:
    args = parse(
        __name__,
        argv,
        word="dataset",
        settings="registered split",
        file="prepared manifest",
        files="raw",
    )
    entry, split = args.registered, args.split
    raw = {path.name: path.read_bytes() for path in args.raw}
    for path in args.raw:
        if wrong := fault(raw[path.name], entry["files"][path.name]):
            raise BadInput(f"{path}: {wrong}; {REMEDY}")
    pixels, labels = read_samples(entry["format"], raw)
    check_as_registered(args.dataset, pixels, labels, entry)
    drawn = {key: value for key, value in split.items() if key != "pool"}
    pixels, tested = pooled(pixels, split.get("pool", 1)), entry.get("tested", 0)
    dataset, rows = split_dataset(pixels, labels, entry["levels"], tested=tested, **drawn)
    prepared = dataset_bytes(dataset, {"dataset": args.dataset, "split": split})
    manifest = {
        "dataset": args.dataset,
        **{key: entry[key] for key in TOLD},
        "shape": list(dataset.input_shape),
        "raw_sha256": {name: hashlib.sha256(content).hexdigest() for name, content in raw.items()},
        "prepared_sha256": hashlib.sha256(prepared).hexdigest(),
        "scaling": {"mean": dataset.scale.mean.tolist(), "std": dataset.scale.std.tolist()},
        "split": split,
        "parts": {
            name: {
                "samples": len(rows[name]),
                "by_class": torch.bincount(getattr(dataset, name).labels).tolist(),
                "rows": rows[name],
            }
            for name in SPLITS
        },
    }
    publish({args.prepared: prepared, args.manifest: sealed_json(manifest)})
    sizes = ", ".join(f"{len(rows[name])} {name}" for name in SPLITS)
    print(f"{args.prepared}: {sizes} samples of shape {dataset.input_shape}")
