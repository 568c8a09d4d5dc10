"""From a raw file's bytes to a prepared data set.

To add a data set, describe its raw file in ``config/datasets.yaml`` and name a reader in
``READERS``.
"""

import gzip
import io
from collections.abc import Callable

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from bnblind.errors import BadInput, unknown
from bnblind.experiments.datasets import SPLITS, Dataset, Part


def read_digits(raw: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The digits of scikit-learn: gzipped CSV, 64 pixels of 0 to 16 and the label per row."""
    table = np.loadtxt(io.BytesIO(gzip.decompress(raw)), delimiter=",")
    return table[:, :-1].reshape(-1, 1, 8, 8) / 16, table[:, -1].astype(np.int64)


READERS: dict[str, Callable[[bytes], tuple[np.ndarray, np.ndarray]]] = {"digits": read_digits}
"""Name -> reader: raw bytes to images (N, C, H, W) in [0, 1] and labels (N,)."""


def read_images(name: str, raw: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, C, H, W) in [0, 1] and labels (N,) of the data set ``name``."""
    if name not in READERS:
        raise unknown("data set", name, READERS)
    return READERS[name](raw)


def split_dataset(
    images: np.ndarray, labels: np.ndarray, *, seed: int, validation: float, test: float
) -> tuple[Dataset, dict[str, list[int]]]:
    """Split stratified by label and scale by the training part's channel mean and std.

    Args:
        images: (N, C, H, W) floating point.
        labels: (N,) integer.
        seed: of the split.
        validation: share of all samples in the validation part, as ``test`` in the test part.

    Returns:
        The data set, and for each part the rows of ``images`` that it holds, ascending.

    Raises:
        BadInput: the shares leave no training data.
    """
    if not (0 < validation and 0 < test and validation + test < 1):
        raise BadInput(
            f"validation and test must be positive shares with a sum below 1; "
            f"found {validation} and {test}"
        )
    smallest = min(round(validation * len(labels)), round(test * len(labels)))
    if smallest < len(np.unique(labels)):
        raise BadInput(
            f"each part needs a sample of each of the {len(np.unique(labels))} classes; shares "
            f"{validation} and {test} of {len(labels)} samples give a part of {smallest}"
        )
    everything = np.arange(len(labels))
    kept, tested = train_test_split(
        everything, test_size=round(test * len(labels)), stratify=labels, random_state=seed
    )
    trained, validated = train_test_split(
        kept, test_size=round(validation * len(labels)), stratify=labels[kept], random_state=seed
    )
    rows = {
        name: np.sort(part) for name, part in zip(SPLITS, (trained, validated, tested), strict=True)
    }
    mean = images[rows["train"]].mean((0, 2, 3))
    std = images[rows["train"]].std((0, 2, 3))
    scaled = (images - mean[:, None, None]) / std[:, None, None]
    parts = {
        name: Part(
            torch.from_numpy(scaled[part].astype(np.float32)),
            torch.from_numpy(labels[part].astype(np.int64)),
        )
        for name, part in rows.items()
    }
    dataset = Dataset(**parts, mean=torch.from_numpy(mean), std=torch.from_numpy(std))
    return dataset, {name: part.tolist() for name, part in rows.items()}
