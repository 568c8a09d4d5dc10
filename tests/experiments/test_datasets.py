"""Data sets: the split is fixed, stratified and disjoint; the test part leaks into nothing."""

import numpy as np
import pytest
import torch

from bnblind import BadInput
from bnblind.experiments.datasets import SPLITS, SPLITTINGS, Dataset
from bnblind.experiments.preparation import read_images, split_dataset
from bnblind.experiments.randomness import stream

SHARES = {"validation": 0.15, "test": 0.2}


@pytest.fixture(scope="module")
def split(digits_images):
    return split_dataset(*digits_images, seed=0, **SHARES)


def tensors(dataset):
    parts = [getattr(dataset, name) for name in SPLITS]
    return [t for part in parts for t in (part.images, part.labels)]


def test_digits_are_the_registered_ones(digits_images, registered):
    images, labels = digits_images
    assert images.shape == (1797, *registered["shape"])
    assert images.min() == 0
    assert images.max() == 1
    assert sorted(set(labels.tolist())) == list(range(registered["classes"]))


def test_digits_rows_and_labels_belong_together(digits_images):
    """Against scikit-learn's own reader."""
    from sklearn.datasets import load_digits

    images, labels = digits_images
    theirs = load_digits()
    assert np.array_equal(images[:, 0] * 16, theirs.images)
    assert np.array_equal(labels, theirs.target)


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
        restored = part.images.double() * dataset.std + dataset.mean
        torch.testing.assert_close(
            restored, torch.from_numpy(images[rows[name]]), rtol=0, atol=1e-6
        )


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


def test_channels_are_scaled_apart():
    generator = np.random.default_rng(0)
    scales = np.array([1.0, 10.0]).reshape(1, 2, 1, 1)
    images = generator.normal(size=(60, 2, 3, 3)) * scales + scales
    dataset, _ = split_dataset(images, np.arange(60) % 3, seed=0, **SHARES)
    train = dataset.train.images
    torch.testing.assert_close(train.mean((0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(train.std((0, 2, 3), correction=0), torch.ones(2))


@pytest.mark.parametrize("changed", ["validation", "test"])
def test_scaling_comes_from_the_training_part_only(split, digits_images, changed):
    before, rows = split
    images, labels = digits_images
    mutated = images.copy()
    mutated[rows[changed]] += 100
    after, _ = split_dataset(mutated, labels, seed=0, **SHARES)
    assert torch.equal(after.train.images, before.train.images)
    assert torch.equal(after.mean, before.mean)
    assert torch.equal(after.std, before.std)
    assert not torch.equal(getattr(after, changed).images, getattr(before, changed).images)


def test_the_seed_alone_decides(split, digits_images):
    before, rows = split
    np.random.seed(5)
    after, same = split_dataset(*digits_images, seed=0, **SHARES)
    assert same == rows
    assert all(map(torch.equal, tensors(before), tensors(after)))
    _, other = split_dataset(*digits_images, seed=1, **SHARES)
    assert all(other[name] != rows[name] for name in SPLITS)


@pytest.mark.parametrize(
    ("validation", "test"), [(0.5, 0.5), (0.0, 0.2), (0.2, 0.0), (-0.1, 0.2), (0.9, 0.9)]
)
def test_shares_that_leave_no_part_are_refused(digits_images, validation, test):
    with pytest.raises(BadInput, match=f"sum below 1; found {validation} and {test}"):
        split_dataset(*digits_images, seed=0, validation=validation, test=test)


def test_unknown_data_set_is_refused():
    with pytest.raises(BadInput, match="unknown data set 'mnist'; allowed: digits"):
        read_images("mnist", b"")


def test_a_split_of_its_own_holds_the_same_samples_in_other_parts(digits: Dataset) -> None:
    """As many of each class in each part, up to one; scaled by its own training part."""
    anew = SPLITTINGS["own"](digits, stream(7, "split"))

    def raw(data: Dataset, name: str) -> torch.Tensor:
        images = getattr(data, name).images.double().flatten(1)
        return (images * data.std + data.mean).mul(16).round()

    def rows(data: Dataset) -> list[list[float]]:
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
