"""A prepared data set as a safetensors file."""

from pathlib import Path
from typing import Any

from bnblind.experiments.datasets import SPLITS, Dataset, Part, Scale
from bnblind.pipeline.formats.tensors import read_tensors, tensors_bytes


def dataset_bytes(dataset: Dataset, description: dict[str, Any]) -> bytes:
    scale = dataset.scale
    tensors = {"mean": scale.mean, "std": scale.std}
    for name in SPLITS:
        part: Part = getattr(dataset, name)
        tensors |= {f"{name}.pixels": part.pixels, f"{name}.labels": part.labels}
    return tensors_bytes(tensors, {**description, "levels": scale.levels})


def read_dataset(path: Path) -> Dataset:
    """A prepared data set, as :func:`dataset_bytes` wrote it."""
    tensors, description = read_tensors(path)
    scale = Scale(tensors["mean"], tensors["std"], description["levels"])
    parts = {n: Part(tensors[f"{n}.pixels"], tensors[f"{n}.labels"], scale) for n in SPLITS}
    return Dataset(**parts)
