"""Batchings: each epoch holds every sample once, in batches that statistics can be taken of."""

from itertools import pairwise, zip_longest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnblind import BadInput
from bnblind.experiments.batching import (
    BATCHINGS,
    cut,
    foreign_batches,
    make_batches,
    order_hash,
    purity_batches,
)

CLASS_SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6)
BATCH_SIZES = st.integers(2, 17)
SEEDS = st.integers(0, 1000)
WORDS = [*BATCHINGS, "purity-0.6", "purity-1", "foreign-1"]


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


@given(CLASS_SIZES, BATCH_SIZES, SEEDS, st.integers(0, 4))
def test_every_sample_is_in_exactly_one_batch_of_any_purity(sizes, batch_size, seed, quarters):
    labels, least = labels_of(sizes), 1 / len(sizes)
    purity = least + (1 - least) * quarters / 4
    generator = torch.Generator().manual_seed(seed)
    found = torch.cat(purity_batches(labels, batch_size, generator, purity=purity))
    assert sorted(found.tolist()) == list(range(sum(sizes)))


@given(st.lists(st.integers(6, 40), min_size=2, max_size=6), SEEDS, st.integers(1, 3))
def test_in_every_batch_exactly_k_samples_are_foreign(sizes, seed, foreign):
    """And every sample is in one batch, whose number and sizes are those of pure batches."""
    labels, generator = labels_of(sizes), torch.Generator().manual_seed(seed)
    pure = batches("label_shuffled", labels, 8, seed)
    counts = [sum(labels[batch[0]] == c for batch in pure) for c in range(len(sizes))]
    fits = 2 * max(counts) <= len(pure) and foreign < min(map(len, pure))
    if not fits:
        with pytest.raises(BadInput, match=r"foreign"):
            foreign_batches(labels, 8, generator, foreign=foreign)
        return
    found = foreign_batches(labels, 8, generator, foreign=foreign)
    assert sorted(torch.cat(found).tolist()) == list(range(sum(sizes)))
    for own, mixed in zip(pure, found, strict=True):
        assert len(own) == len(mixed)
        assert (labels[mixed] != labels[own[0]]).sum() == foreign


def test_foreign_samples_are_of_all_other_classes_and_differ_from_epoch_to_epoch():
    labels = labels_of([64] * 4)
    found = [batches("foreign-2", labels, 16, seed) for seed in range(20)]
    seen = {
        (int(labels[batch].mode()[0]), int(label))
        for epoch in found
        for batch in epoch
        for label in labels[batch]
    }
    assert seen == {(own, other) for own in range(4) for other in range(4)}
    assert not torch.equal(torch.cat(found[0]), torch.cat(found[1]))


def test_too_many_foreign_samples_are_refused():
    labels = labels_of([16] * 4)
    with pytest.raises(BadInput, match="fewer than the smallest batch, 8; found 8"):
        batches("foreign-8", labels, 8)
    with pytest.raises(BadInput, match="one class has more than half of the batches"):
        batches("foreign-1", labels_of([64, 16]), 8)


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


@given(CLASS_SIZES, BATCH_SIZES, SEEDS)
def test_shuffled_label_batches_are_the_same_batches_in_another_order(sizes, batch_size, seed):
    labels = labels_of(sizes)
    cyclic, shuffled = (
        {tuple(batch.tolist()) for batch in batches(name, labels, batch_size, seed)}
        for name in ("label", "label_shuffled")
    )
    assert shuffled == cyclic


def test_shuffled_label_batches_follow_no_cycle():
    labels = labels_of([40] * 10)
    found = batches("label_shuffled", labels, 4)
    order = [int(labels[batch[0]]) for batch in found]
    assert order != sorted(order)
    assert order[:10] != list(range(10))
    assert any(a == b for a, b in pairwise(order))


def own_shares(labels, batch_size, purity, seed):
    """For each batch of that purity its size and the share of its own class: that of the pure
    batch which the same generator gives.
    """
    pure = batches("label_shuffled", labels, batch_size, seed)
    mixed = batches(f"purity-{purity}", labels, batch_size, seed)
    assert [len(batch) for batch in mixed] == [len(batch) for batch in pure]
    shares = [
        (labels[b] == labels[p[0]]).float().mean().item() for b, p in zip(mixed, pure, strict=True)
    ]
    return pure, mixed, shares


@pytest.mark.parametrize("purity", ["0.1", "0.3", "0.5", "0.9", "0.99", "1"])
def test_batches_have_the_purity_asked_for(purity):
    """Mean share of the own class over 10 epochs of 2,000 samples: its standard deviation is
    below 0.003.
    """
    labels = labels_of([200] * 10)
    shares = [s for seed in range(10) for s in own_shares(labels, 20, purity, seed)[2]]
    assert sum(shares) / len(shares) == pytest.approx(float(purity), abs=0.012)


def test_purity_with_uneven_classes_and_short_batches():
    """A class of frequency pi keeps q + (1 - q) pi; a share 1 - q of each batch moves, to one
    sample, and of the epoch exactly.
    """
    sizes = [600, 250, 100, 50]
    labels, q = labels_of(sizes), (0.7 - 0.25) / 0.75
    found = {c: [] for c in range(4)}
    for seed in range(40):
        pure, mixed, shares = own_shares(labels, 16, "0.7", seed)
        stayed = [int((a == b).sum()) for a, b in zip(pure, mixed, strict=True)]
        assert sum(stayed) >= 1000 - round((1 - q) * 1000)
        assert all(k >= q * len(b) - 1 for k, b in zip(stayed, pure, strict=True))
        for batch, share in zip(pure, shares, strict=True):
            found[int(labels[batch[0]])].append(share * len(batch))
    for c, size in enumerate(sizes):
        share = sum(found[c]) / (40 * size)
        assert share == pytest.approx(q + (1 - q) * size / 1000, abs=0.02)


def test_full_purity_is_label_shuffled_and_the_least_mixes_all():
    labels = labels_of([32] * 4)
    pure, mixed, _ = own_shares(labels, 16, "1", 3)
    assert all(map(torch.equal, pure, mixed))
    pure, mixed, _ = own_shares(labels, 16, "0.25", 3)
    assert all(len(labels[batch].unique()) > 1 for batch in mixed)


@pytest.mark.parametrize("purity", ["0.24", "0.001"])
def test_a_purity_below_that_of_random_batches_is_refused(purity):
    with pytest.raises(BadInput, match=f"between 1 / classes = 0.25 and 1; found {purity}"):
        batches(f"purity-{purity}", labels_of([4] * 4), 2)


@pytest.mark.parametrize("word", ["purity", "purity-", "purity-1.5", "purity-0.90", "purity-p"])
def test_a_misspelt_purity_is_refused(word):
    with pytest.raises(BadInput, match=f"unknown batching '{word}'; allowed: .*purity-P"):
        batches(word, labels_of([4] * 4), 2)


@pytest.mark.parametrize("batching", ["label", "label_shuffled", "purity-1"])
def test_a_class_of_one_sample_is_a_batch_of_one(batching):
    found = batches(batching, labels_of([9, 1]), 4)
    assert sorted(map(len, found)) == [1, 4, 5]


def test_the_hash_tells_orders_batches_and_epochs_apart():
    one, other = torch.arange(6), torch.tensor([0, 1, 2, 3, 5, 4])
    hashes = [
        order_hash("", [one]),
        order_hash("", [other]),
        order_hash("", [one[:3], one[3:]]),
        order_hash("", [one[:2], one[2:]]),
        order_hash(order_hash("", [one]), [one]),
        order_hash("", [one, one]),
    ]
    assert len(set(hashes)) == len(hashes)
    assert hashes[0] == order_hash("", [one.clone()])


@pytest.mark.parametrize("batching", WORDS)
def test_the_generator_alone_decides(batching):
    labels = labels_of([20] * 5)
    torch.manual_seed(0)
    once = batches(batching, labels, 4, seed=1)
    torch.manual_seed(1)
    again, other = batches(batching, labels, 4, seed=1), batches(batching, labels, 4, seed=2)
    assert all(map(torch.equal, once, again))
    assert not all(map(torch.equal, once, other))


@pytest.mark.parametrize("batching", WORDS)
def test_epochs_differ_when_the_generator_goes_on(batching):
    labels, generator = labels_of([20] * 5), torch.Generator().manual_seed(0)
    first, second = (make_batches(batching, labels, 4, generator) for _ in range(2))
    assert not all(map(torch.equal, first, second))


def test_unknown_batching_is_refused():
    with pytest.raises(BadInput, match="unknown batching 'randomly'; allowed: random, label"):
        batches("randomly", labels_of([4]), 2)


@pytest.mark.parametrize("batch_size", [1, 0, -4])
def test_a_batch_size_without_statistics_is_refused(batch_size):
    with pytest.raises(BadInput, match=f"batch_size must be >= 2.*found {batch_size}"):
        batches("random", labels_of([4]), batch_size)
