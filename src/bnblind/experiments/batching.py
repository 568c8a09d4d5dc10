"""Batchings: which samples meet in a mini-batch.

A batching maps labels (N,) to the index batches of one epoch, each sample in exactly one
batch. To add one, write a function with this signature and name it in ``BATCHINGS``.
``purity-p`` stands for :func:`purity_batches` with that p, ``foreign-k`` for
:func:`foreign_batches`.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from itertools import zip_longest

import torch
from torch import Tensor

from bnblind.errors import BadInput, unknown
from bnblind.experiments.words import foreign_of, purity_of

Batches = list[Tensor]


def cut(indices: Tensor, batch_size: int) -> Batches:
    """Cut ``indices`` into batches; the last may be short. One of a single sample joins the one
    before: no statistics can be taken of it.
    """
    batches = list(indices.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


def _shuffled(indices: Tensor, generator: torch.Generator) -> Tensor:
    return indices[torch.randperm(len(indices), generator=generator)]


def _by_class(labels: Tensor, batch_size: int, generator: torch.Generator) -> list[Batches]:
    """The batches of each class, in ascending order of the classes; a class of a single sample
    gives a batch of one, which only batch statistics refuse.
    """
    classes = [(labels == c).nonzero().flatten() for c in labels.unique(sorted=True)]
    return [cut(_shuffled(members, generator), batch_size) for members in classes]


def random_batches(labels: Tensor, batch_size: int, generator: torch.Generator) -> Batches:
    """``random``: all samples shuffled."""
    return cut(_shuffled(torch.arange(len(labels)), generator), batch_size)


def label_batches(labels: Tensor, batch_size: int, generator: torch.Generator) -> Batches:
    """``label``: every batch one class, classes in cyclic order (0, 1, ..., 0, 1, ...); one with
    fewer samples leaves the cycle earlier.
    """
    rounds = zip_longest(*_by_class(labels, batch_size, generator))
    return [batch for cycle in rounds for batch in cycle if batch is not None]


def label_shuffled_batches(labels: Tensor, batch_size: int, generator: torch.Generator) -> Batches:
    """``label_shuffled``: every batch one class, the batches of all classes in random order."""
    batches = [batch for own in _by_class(labels, batch_size, generator) for batch in own]
    order = torch.randperm(len(batches), generator=generator)
    return [batches[i] for i in order.tolist()]


def purity_batches(
    labels: Tensor, batch_size: int, generator: torch.Generator, *, purity: float
) -> Batches:
    """``purity-p``: the batches of ``label_shuffled``, in which some samples change places.

    Of the samples a share 1 - q, q = (p - 1/C) / (1 - 1/C), is shuffled among its places; of each
    batch that share, rounded up or down to whole samples so that the rounding averages out over the
    epoch. The others stay in the batch of their class. So the expected share of a batch that is of
    the batch's own class is q + (1 - q) / C = p where all classes are equally frequent, and q + (1
    - q) pi for a class of frequency pi. Number and sizes of the batches are the same for every p; p
    = 1 is ``label_shuffled``, p = 1/C mixes all samples. Raises BadInput if p is not in [1/C, 1], C
    the number of classes found.
    """
    classes = len(labels.unique())
    if not 1 / classes <= purity <= 1:
        raise BadInput(
            f"purity must lie between 1 / classes = {1 / classes:g} and 1; found {purity:g}"
        )
    batches = label_shuffled_batches(labels, batch_size, generator)
    moving = (1 - purity) / (1 - 1 / classes) if classes > 1 else 0.0
    ends = torch.tensor([0, *map(len, batches)]).cumsum(0)
    movers = (moving * ends.double()).round().long()
    # The samples of a batch are in random order, so its first ones are a random choice.
    places = torch.cat(
        [
            torch.arange(start, start + count)
            for start, count in zip(ends[:-1].tolist(), movers.diff().tolist(), strict=True)
        ]
    )
    order = torch.cat(batches)
    order[places] = order[_shuffled(places, generator)]
    return list(order.split([len(batch) for batch in batches]))


def foreign_batches(
    labels: Tensor, batch_size: int, generator: torch.Generator, *, foreign: int
) -> Batches:
    """``foreign-k``: the batches of ``label_shuffled``, in each of which exactly k samples are of
    other classes than the batch's own.

    Of each batch k samples, chosen at random, change places with those of batches of other classes.
    Batches of one purity, where ``purity-p`` has a number that varies from batch to batch. Raises
    BadInput if a batch has no more than k samples, or one class is more than half of them all, so
    that there are not enough others.
    """
    batches = label_shuffled_batches(labels, batch_size, generator)
    if foreign >= min(map(len, batches)):
        raise BadInput(
            f"foreign samples must be fewer than the smallest batch, {min(map(len, batches))}; "
            f"found {foreign}"
        )
    starts = torch.tensor([0, *map(len, batches)]).cumsum(0)[:-1]
    # The samples of a batch are in random order, so its first ones are a random choice.
    places = (starts[:, None] + torch.arange(foreign)).flatten()
    order = torch.cat(batches)
    own, moved = labels[order[places]], order[_shuffled(places, generator)]
    if 2 * int(own.bincount().max()) > len(own):
        raise BadInput(f"foreign-{foreign}: one class has more than half of the batches")
    for place, label in enumerate(own):
        if labels[moved[place]] == label:  # exchanged, so that neither sample is at home
            fit = ((own != label) & (labels[moved] != label)).nonzero().flatten()
            other = fit[torch.randint(len(fit), (), generator=generator)]
            moved[place], moved[other] = moved[other].clone(), moved[place].clone()
    order[places] = moved
    return list(order.split([len(batch) for batch in batches]))


Batching = Callable[[Tensor, int, torch.Generator], Batches]

BATCHINGS: dict[str, Batching] = {
    "random": random_batches,
    "label": label_batches,
    "label_shuffled": label_shuffled_batches,
}


def _named(batching: str) -> Batching:
    purity = purity_of(batching)
    if purity is not None:
        return partial(purity_batches, purity=purity)
    if (foreign := foreign_of(batching)) is not None:
        return partial(foreign_batches, foreign=foreign)
    if batching not in BATCHINGS:
        raise unknown("batching", batching, [*BATCHINGS, "purity-P", "foreign-K"])
    return BATCHINGS[batching]


def make_batches(
    batching: str, labels: Tensor, batch_size: int, generator: torch.Generator
) -> Batches:
    """The batches of one epoch: index tensors that together hold every sample once. Raises BadInput
    for an unknown batching, a purity that the number of classes does not allow, or a batch size
    below 2.
    """
    if batch_size < 2:
        raise BadInput(f"batch_size must be >= 2, to take batch statistics; found {batch_size}")
    return _named(batching)(labels, batch_size, generator)


def order_hash(before: str, batches: Batches) -> str:
    """The sha256 of an epoch's batches and of ``before``, the hash of the epochs before it;
    chained, so that a run that goes on from a checkpoint needs the last hash only.
    """
    digest = hashlib.sha256(before.encode())
    for batch in batches:
        digest.update(len(batch).to_bytes(8, "little"))
        digest.update(batch.numpy().astype("<i8").tobytes())
    return digest.hexdigest()
