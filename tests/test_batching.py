"""Batchings: each epoch holds every sample once, in batches that statistics can be taken of."""

from itertools import zip_longest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnblind import BadInput
from bnblind.experiments.batching import BATCHINGS, cut, make_batches

CLASS_SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6)
BATCH_SIZES = st.integers(2, 17)
SEEDS = st.integers(0, 1000)


def labels_of(sizes):
    """Labels with ``sizes[c]`` samples of class c, in a mixed order."""
    labels = torch.cat([torch.full((size,), c) for c, size in enumerate(sizes)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


def batches(batching, labels, batch_size, seed=0):
    return make_batches(batching, labels, batch_size, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("batching", BATCHINGS)
@given(CLASS_SIZES, BATCH_SIZES, SEEDS)
def test_every_sample_is_in_exactly_one_batch(batching, sizes, batch_size, seed):
    found = torch.cat(batches(batching, labels_of(sizes), batch_size, seed))
    assert sorted(found.tolist()) == list(range(sum(sizes)))


@given(st.integers(1, 200), BATCH_SIZES)
def test_no_batch_of_one_sample_when_there_are_more(n, batch_size):
    sizes = [len(batch) for batch in cut(torch.arange(n), batch_size)]
    assert sum(sizes) == n
    assert all(size == batch_size for size in sizes[:-1])
    assert min(2, n) <= sizes[-1] <= batch_size + 1
    if sizes[-1] == batch_size + 1:
        assert n % batch_size == 1


@given(CLASS_SIZES, BATCH_SIZES, SEEDS)
def test_label_batches_are_pure_and_cyclic(sizes, batch_size, seed):
    """Classes in ascending order, round after round; a smaller class leaves the cycle earlier."""
    labels = labels_of(sizes)
    found = []
    for batch in batches("label", labels, batch_size, seed):
        (label,) = labels[batch].unique().tolist()
        assert min(2, sizes[label]) <= len(batch) <= batch_size + 1
        found.append(label)
    counts = [max(1, (size - 2) // batch_size + 1) for size in sizes]
    rounds = zip_longest(*([c] * count for c, count in enumerate(counts)))
    assert found == [c for cycle in rounds for c in cycle if c is not None]


def test_label_batches_of_ten_equal_classes():
    labels = labels_of([20] * 10)
    order = [int(labels[batch[0]]) for batch in batches("label", labels, 5)]
    assert order == list(range(10)) * 4


def test_random_batches_mix_classes():
    labels = labels_of([32] * 4)
    assert all(len(labels[batch].unique()) > 1 for batch in batches("random", labels, 16))


@pytest.mark.parametrize("batching", BATCHINGS)
def test_the_generator_alone_decides(batching):
    labels = labels_of([20] * 5)
    torch.manual_seed(0)
    once = batches(batching, labels, 4, seed=1)
    torch.manual_seed(1)
    again, other = batches(batching, labels, 4, seed=1), batches(batching, labels, 4, seed=2)
    assert all(map(torch.equal, once, again))
    assert not all(map(torch.equal, once, other))


@pytest.mark.parametrize("batching", BATCHINGS)
def test_epochs_differ_when_the_generator_goes_on(batching):
    labels, generator = labels_of([20] * 5), torch.Generator().manual_seed(0)
    first, second = (make_batches(batching, labels, 4, generator) for _ in range(2))
    assert not all(map(torch.equal, first, second))


def test_unknown_batching_is_refused():
    with pytest.raises(BadInput, match="unknown batching 'sorted'; allowed: random, label"):
        batches("sorted", labels_of([4]), 2)


@pytest.mark.parametrize("batch_size", [1, 0, -4])
def test_a_batch_size_without_statistics_is_refused(batch_size):
    with pytest.raises(BadInput, match=f"batch_size must be >= 2.*found {batch_size}"):
        batches("random", labels_of([4]), batch_size)
