"""A prepared data set as a safetensors file."""

from pathlib import Path
from typing import Any

from bnblind.experiments.datasets import SPLITS, Dataset, Part
from bnblind.pipeline.formats.tensors import read_tensors, tensors_bytes


def dataset_bytes(dataset: Dataset, description: dict[str, Any]) -> bytes:
    tensors = {"mean": dataset.mean, "std": dataset.std}
    for name in SPLITS:
        part: Part = getattr(dataset, name)
        tensors |= {f"{name}.images": part.images, f"{name}.labels": part.labels}
    return tensors_bytes(tensors, description)


def read_dataset(path: Path) -> Dataset:
    """A prepared data set, as :func:`dataset_bytes` wrote it."""
    tensors, _ = read_tensors(path)
    parts = {n: Part(tensors[f"{n}.images"], tensors[f"{n}.labels"]) for n in SPLITS}
    return Dataset(**parts, mean=tensors["mean"], std=tensors["std"])
