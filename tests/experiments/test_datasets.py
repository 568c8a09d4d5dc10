"""Data sets: the split is fixed, stratified and disjoint; the test part leaks into nothing."""

import struct

import numpy as np
import pytest
import torch

from bnblind import BadInput
from bnblind.experiments.datasets import SPLITS, SPLITTINGS, Dataset, Part, Scale
from bnblind.experiments.preparation import read_samples, split_dataset
from bnblind.experiments.randomness import stream
from tests.helpers.cifar import archive

SHARES = {"validation": 0.15, "test": 0.2}


@pytest.fixture(scope="module")
def split(digits_images):
    return split_dataset(*digits_images, 17, seed=0, **SHARES)


def tensors(dataset):
    parts = [getattr(dataset, name) for name in SPLITS]
    return [t for part in parts for t in (part.images, part.labels)]


def test_digits_are_the_registered_ones(digits_images, registered):
    """Against scikit-learn's own reader."""
    from sklearn.datasets import load_digits

    images, labels = digits_images
    theirs = load_digits()
    assert images.dtype == torch.uint8
    assert images.shape == (1797, *registered["shape"])
    assert np.array_equal(images[:, 0], theirs.images)
    assert np.array_equal(labels, theirs.target)
    assert images.max() == registered["levels"] - 1


def test_parts_are_disjoint_and_cover_all_rows(split, digits_images):
    _, rows = split
    assert tuple(rows) == SPLITS
    assert sorted(row for part in rows.values() for row in part) == list(range(1797))
    assert all(part == sorted(part) for part in rows.values())
    assert len(rows["validation"]) == round(0.15 * 1797)
    assert len(rows["test"]) == round(0.2 * 1797)


def test_parts_hold_the_rows_they_name(split, digits_images):
    dataset, rows = split
    images, labels = digits_images
    for name in SPLITS:
        part = getattr(dataset, name)
        assert part.labels.tolist() == labels[rows[name]].tolist()
        assert torch.equal(part.pixels, images[rows[name]])
        restored = part.images.double() * part.scale.std + part.scale.mean
        torch.testing.assert_close(restored, part.pixels.double() / 16, rtol=0, atol=1e-6)


def test_split_is_stratified(split):
    """Each class has its share of each part, to within one sample."""
    dataset, _ = split
    counts = {name: torch.bincount(getattr(dataset, name).labels).double() for name in SPLITS}
    whole = sum(counts.values())
    for count in counts.values():
        assert (count - whole * count.sum() / whole.sum()).abs().max() <= 1


def test_training_part_is_scaled_to_mean_0_and_std_1(split):
    dataset, _ = split
    images = dataset.train.images.double()
    assert images.mean().abs() < 1e-6
    assert abs(images.std(correction=0).item() - 1) < 1e-6
    assert images.dtype == torch.float64
    assert dataset.train.images.dtype == torch.float32
    assert dataset.train.labels.dtype == torch.int64
    assert dataset.input_shape == (1, 8, 8)
    assert dataset.classes == 10


def test_channels_are_scaled_apart_and_exactly():
    """Each by the mean and deviation that NumPy finds in float64."""
    generator = np.random.default_rng(0)
    ends = np.array([100, 256]).reshape(1, 2, 1, 1)
    pixels = torch.tensor(generator.integers(0, ends, (60, 2, 3, 3)).astype(np.uint8))
    dataset, rows = split_dataset(pixels, torch.arange(60) % 3, 256, seed=0, **SHARES)
    unit = pixels[rows["train"]].numpy() / 255
    mean, std = unit.mean((0, 2, 3)), unit.std((0, 2, 3))
    np.testing.assert_allclose(dataset.scale.mean, mean, rtol=1e-14)
    np.testing.assert_allclose(dataset.scale.std, std, rtol=1e-14)
    expected = (unit - mean[:, None, None]) / std[:, None, None]
    assert np.array_equal(dataset.train.images, expected.astype(np.float32))


def test_a_large_part_is_scaled_batch_by_batch_to_the_same_values(split, monkeypatch):
    part, rows = split[0].train, torch.tensor([5, 3, 900])
    expected = part[rows], torch.cat([*part.chunks(100)]), part.first(7).images
    monkeypatch.setattr("bnblind.experiments.datasets.WHOLE", 0)
    fresh = Part(part.pixels, part.labels, part.scale)
    found = fresh[rows], torch.cat([*fresh.chunks(100)]), fresh.images[:7]
    assert all(map(torch.equal, found, expected))
    assert torch.equal(expected[0], part.images[rows])
    assert torch.equal(expected[1], part.images)


def test_a_grey_value_without_a_scale_is_refused(split):
    """Not looked up as one of the next channel's."""
    scale = Scale(torch.zeros(3), torch.ones(3), 17)
    pixels = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    pixels[0, 0, 0, 0] = 18
    with pytest.raises(BadInput, match=r"grey values must be below 17; found 18"):
        Part(pixels, torch.zeros(1), scale)
    with pytest.raises(IndexError):
        Scale(torch.zeros(1), torch.ones(1), 17)(torch.zeros_like(pixels))


def test_a_test_part_of_its_own_is_kept_whole(digits_images):
    pixels, labels = digits_images
    official = {"seed": 0, "validation": 0.1, "tested": 297}
    _, rows = split_dataset(pixels, labels, 17, **official)
    assert rows["test"] == list(range(1500, 1797))
    assert len(rows["validation"]) == 150
    assert sorted(rows["train"] + rows["validation"]) == list(range(1500))
    few, drawn = split_dataset(pixels, labels, 17, **official, train=200)
    assert len(few.train) == 200
    assert {*drawn["train"]} < {*rows["train"]}
    assert drawn["validation"] == rows["validation"]
    assert (few.train.labels.bincount() - 20).abs().max() <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tested": 297, "test": 0.2}, "found a test part of 297 samples in the data and 0.2"),
        ({}, "found a test part of 0 samples in the data and None"),
        ({"tested": 297, "train": 9}, "train: found 9 samples; allowed: 10 to 1349"),
        ({"tested": 297, "train": 1350}, "train: found 1350 samples; allowed: 10 to 1349"),
        ({"tested": 5}, "give a part of 5"),
    ],
)
def test_a_split_that_cannot_be_is_refused(digits_images, settings, message):
    with pytest.raises(BadInput, match=message):
        split_dataset(*digits_images, 17, seed=0, validation=0.1, **settings)


@pytest.mark.parametrize("changed", ["validation", "test"])
def test_scaling_comes_from_the_training_part_only(split, digits_images, changed):
    before, rows = split
    images, labels = digits_images
    mutated = images.clone()
    mutated[rows[changed]] = 16 - mutated[rows[changed]]
    after, _ = split_dataset(mutated, labels, 17, seed=0, **SHARES)
    assert torch.equal(after.train.images, before.train.images)
    assert torch.equal(after.scale.mean, before.scale.mean)
    assert torch.equal(after.scale.std, before.scale.std)
    assert not torch.equal(getattr(after, changed).images, getattr(before, changed).images)


def test_the_seed_alone_decides(split, digits_images):
    before, rows = split
    np.random.seed(5)
    after, same = split_dataset(*digits_images, 17, seed=0, **SHARES)
    assert same == rows
    assert all(map(torch.equal, tensors(before), tensors(after)))
    _, other = split_dataset(*digits_images, 17, seed=1, **SHARES)
    assert all(other[name] != rows[name] for name in SPLITS)


@pytest.mark.parametrize(
    ("validation", "test"), [(0.5, 0.5), (0.0, 0.2), (0.2, 0.0), (-0.1, 0.2), (0.9, 0.9)]
)
def test_shares_that_leave_no_part_are_refused(digits_images, validation, test):
    with pytest.raises(BadInput, match=f"sum below 1; found {validation} and {test}"):
        split_dataset(*digits_images, 17, seed=0, validation=validation, test=test)


def test_an_unknown_format_is_refused():
    with pytest.raises(BadInput, match="unknown format 'png'; allowed: digits, idx, cifar_binary"):
        read_samples("png", {})


def test_a_split_of_its_own_holds_the_same_samples_in_other_parts(digits: Dataset) -> None:
    """As many of each class in each part, up to one; scaled by its own training part."""
    anew = SPLITTINGS["own"](digits, stream(7, "split"))

    def raw(data: Dataset, name: str) -> torch.Tensor:
        return getattr(data, name).pixels.flatten(1)

    def rows(data: Dataset) -> list[list[int]]:
        return sorted(row.tolist() for name in SPLITS for row in raw(data, name))

    assert rows(anew) == rows(digits)
    assert not torch.equal(raw(anew, "test")[:50], raw(digits, "test")[:50])
    for name in SPLITS:
        counts = [getattr(data, name).labels.bincount() for data in (anew, digits)]
        assert (counts[0] - counts[1]).abs().max() <= 1
    assert anew.train.images.double().mean() == pytest.approx(0, abs=1e-6)
    assert anew.train.images.double().std(correction=0) == pytest.approx(1, abs=1e-6)
    again = SPLITTINGS["own"](digits, stream(7, "split"))
    assert torch.equal(again.test.images, anew.test.images)
    other = SPLITTINGS["own"](digits, stream(8, "split"))
    assert not torch.equal(other.test.labels[:100], anew.test.labels[:100]) or not torch.equal(
        other.test.images[:100], anew.test.images[:100]
    )
    assert SPLITTINGS["prepared"](digits, stream(7, "split")) is digits


def idx(array: np.ndarray) -> bytes:
    lengths = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return lengths + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_files() -> dict[str, bytes]:
    generator = np.random.default_rng(0)
    files = {}
    for name, count in (("train", 6), ("t10k", 3)):
        files[f"{name}-images-idx3-ubyte"] = idx(generator.integers(0, 256, (count, 4, 5)))
        files[f"{name}-labels-idx1-ubyte"] = idx(np.arange(count))
    return files


def test_idx_files_are_read_in_their_order(idx_files):
    images, labels = read_samples("idx", idx_files)
    assert images.shape == (9, 1, 4, 5)
    assert labels.tolist() == [*range(6), *range(3)]
    raw = idx_files["t10k-images-idx3-ubyte"][16:]
    assert images[6:].flatten().tolist() == list(raw)


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b[:5], lambda b: b"abc" + b[3:]])
def test_a_damaged_idx_file_is_refused_by_name(idx_files, change):
    name = "train-images-idx3-ubyte"
    with pytest.raises(BadInput, match=f"{name} is no IDX file of unsigned bytes with 3 axes"):
        read_samples("idx", {**idx_files, name: change(idx_files[name])})


def test_cifars_records_are_a_label_and_three_channels():
    images, labels = read_samples("cifar_binary", {"a.tar.gz": archive()})
    assert images.shape == (18, 3, 32, 32)
    assert labels.tolist() == [2, 3, 4] * 5 + [0, 1, 2]  # the test file last
    generator = np.random.default_rng(0)
    first = generator.integers(0, 256, (3, 3073)).astype(np.uint8)[1, 1:]
    assert images[1, 2].flatten().tolist() == first[2048:].tolist()


@pytest.mark.parametrize("raw", [archive(4), archive(length=3072), archive()[:2000], b"<html>"])
def test_a_damaged_archive_is_refused_by_name(raw):
    with pytest.raises(BadInput, match=r"a\.tar\.gz is no archive of CIFAR-10's binary files: "):
        read_samples("cifar_binary", {"a.tar.gz": raw})
