"""Step: raw file to a fixed, scaled split in data/prepared, with a manifest."""

import hashlib
from typing import Any

import numpy as np
import torch

from bnblind.errors import BadInput
from bnblind.experiments.datasets import SPLITS
from bnblind.experiments.preparation import read_images, split_dataset
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.prepared import dataset_bytes
from bnblind.pipeline.formats.seal import sealed_json
from bnblind.pipeline.options import parse
from bnblind.pipeline.steps.export_data import verified


def check_as_registered(name: str, images: np.ndarray, labels: np.ndarray, entry: Any) -> None:
    """Raise BadInput unless shape and classes are the registered ones."""
    found = {"shape": list(images.shape[1:]), "classes": len(np.unique(labels))}
    registered = {key: entry[key] for key in found}
    if found != registered:
        raise BadInput(f"{name}: the raw file holds {found}, expected {registered}")


def main(argv: list[str]) -> None:
    args = parse(
        __name__, argv, word="dataset", settings="registered split", file="raw prepared manifest"
    )

    entry = args.registered
    remedy = "; delete it and call `make run`, which makes it again"
    raw = verified(str(args.raw), args.raw.read_bytes(), entry["sha256"], remedy)
    images, labels = read_images(args.dataset, raw)
    check_as_registered(str(args.raw), images, labels, entry)
    split = args.split
    dataset, rows = split_dataset(
        images, labels, seed=split["seed"], validation=split["validation"], test=split["test"]
    )
    prepared = dataset_bytes(dataset, {"dataset": args.dataset, "split": split})
    manifest = {
        "dataset": args.dataset,
        **{key: entry[key] for key in ("version", "source", "licence", "shape", "classes")},
        "raw_sha256": entry["sha256"],
        "prepared_sha256": hashlib.sha256(prepared).hexdigest(),
        "scaling": {"mean": dataset.mean.tolist(), "std": dataset.std.tolist()},
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
