"""From raw files to a prepared data set.

To add a data set, describe its files in ``config/datasets.yaml``; to add a format, name a reader in
``READERS``.
"""

import gzip
import io
import struct
import tarfile
from collections.abc import Callable, Mapping

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from bnblind.errors import BadInput, unknown
from bnblind.experiments.datasets import SPLITS, Dataset, in_parts

Files = Mapping[str, bytes]
Samples = tuple[np.ndarray, np.ndarray]


def read_digits(files: Files) -> Samples:
    """``digits``: gzipped CSV, 64 pixels of 0 to 16 and the label per row."""
    (raw,) = files.values()
    table = np.loadtxt(io.BytesIO(gzip.decompress(raw)), delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1]


def _idx(name: str, raw: bytes, axes: int) -> np.ndarray:
    """An array of unsigned bytes in the IDX format: magic number, lengths, values."""
    start = 4 + 4 * axes
    magic, *lengths = struct.unpack(f">{1 + axes}I", raw[:start].ljust(start, b"\0"))
    if magic != 0x800 + axes or len(raw) != start + np.prod(lengths, dtype=np.int64):
        raise BadInput(f"{name} is no IDX file of unsigned bytes with {axes} axes, or not whole")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(lengths)


def read_idx(files: Files) -> Samples:
    """``idx``: images and labels for training, ``train-*``, and for tests, ``t10k-*``."""
    images, labels = [], []
    for part in ("train", "t10k"):
        name = f"{part}-images-idx3-ubyte"
        images.append(_idx(name, files[name], 3)[:, None])
        name = f"{part}-labels-idx1-ubyte"
        labels.append(_idx(name, files[name], 1))
    return np.concatenate(images), np.concatenate(labels)


def read_cifar(files: Files) -> Samples:
    """``cifar_binary``: a tar archive of records, one byte of label and 3072 of pixels by channel,
    five files for training and one for tests.
    """
    ((name, raw),) = files.items()
    records = []
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for part in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
                member = archive.extractfile(f"cifar-10-batches-bin/{part}.bin")
                assert member is not None
                records.append(np.frombuffer(member.read(), np.uint8).reshape(-1, 3073))
    except (tarfile.TarError, EOFError, OSError, KeyError, ValueError, AssertionError) as error:
        raise BadInput(f"{name} is no archive of CIFAR-10's binary files: {error}") from error
    table = np.concatenate(records)
    return table[:, 1:].reshape(-1, 3, 32, 32), table[:, 0]


READERS: dict[str, Callable[[Files], Samples]] = {
    "digits": read_digits,
    "idx": read_idx,
    "cifar_binary": read_cifar,
}
"""Format -> reader: files by name to images (N, C, H, W) uint8, grey values from 0, and labels
(N,); a test part of the data set's own stands last.
"""


def read_samples(kind: str, files: Files) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) uint8 and labels (N,) int64 of files in the format ``kind``."""
    if kind not in READERS:
        raise unknown("format", kind, READERS)
    images, labels = READERS[kind](files)
    return torch.tensor(images), torch.tensor(labels.astype(np.int64))


def pooled(pixels: Tensor, side: int) -> Tensor:
    """Means over squares of ``side`` x ``side`` pixels, rounded half up; (N, C, H, W) uint8. Raises
    BadInput if the squares do not fill the image.
    """
    if side == 1:
        return pixels
    count, channels, height, width = pixels.shape
    if height % side or width % side:
        raise BadInput(
            f"pool: found squares of {side} pixels a side for images of {height} x {width}; "
            "allowed: divisors of both"
        )
    squares = pixels.view(count, channels, height // side, side, width // side, side)
    sums = squares.sum((3, 5), dtype=torch.int32)
    return ((2 * sums + side**2) // (2 * side**2)).byte()


def _drawn(rows: np.ndarray, labels: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Without and with ``count`` of these rows, stratified by label."""
    own = labels[rows]
    return list(train_test_split(rows, test_size=count, stratify=own, random_state=seed))


def split_dataset(
    pixels: Tensor,
    labels: Tensor,
    levels: int,
    *,
    seed: int,
    validation: float,
    test: float | None = None,
    tested: int = 0,
    train: int | None = None,
) -> tuple[Dataset, dict[str, list[int]]]:
    """Split stratified by label.

    Args:
        pixels: (N, C, H, W) uint8.
        labels: (N,) int64.
        levels: grey values of a pixel.
        seed: of the split.
        validation: share of the validation part, of all samples but those of a test part of the
            data set's own.
        test: share of the test part, unless the data set has one.
        tested: samples of the data set's own test part, the last ones.
        train: samples of the training part, all others if not given.

    Returns:
        The data set, and for each part the rows of ``pixels`` that it holds, ascending.

    Raises:
        BadInput: the shares leave no training data, a part would lack a class, or ``test`` is
            given for a data set with a test part or not for one without.
    """
    count, classes, known = len(labels) - tested, len(labels.unique()), labels.numpy()
    if (test is None) != bool(tested):
        raise BadInput(
            f"found a test part of {tested} samples in the data and {test} as the share of one to "
            "draw; allowed: exactly one of them"
        )
    if not (0 < validation and (test is None or test > 0) and validation + (test or 0) < 1):
        raise BadInput(
            f"validation and test must be positive shares with a sum below 1; "
            f"found {validation} and {test}"
        )
    validated, kept = round(validation * count), np.arange(count)
    drawn = tested or round((test or 0) * count)
    if min(validated, drawn) < classes:
        raise BadInput(
            f"each part needs a sample of each of the {classes} classes; shares {validation} and "
            f"{test} of {count} samples give a part of {min(validated, drawn)}"
        )
    last = np.arange(count, count + tested)
    if not tested:
        kept, last = _drawn(kept, known, drawn, seed)
    kept, middle = _drawn(kept, known, validated, seed)
    if train is not None:
        if not classes <= train < len(kept):
            raise BadInput(
                f"train: found {train} samples; allowed: {classes} to {len(kept) - 1}, or not given"
            )
        _, kept = _drawn(kept, known, train, seed)
    rows = {
        n: torch.from_numpy(np.sort(p)) for n, p in zip(SPLITS, (kept, middle, last), strict=True)
    }
    found = in_parts(pixels, labels, levels, rows)
    return found, {name: part.tolist() for name, part in rows.items()}
