"""Batchings: which samples meet in a mini-batch.

A batching maps labels (N,) to the index batches of one epoch, each sample in exactly one
batch. To add one, write a function with this signature and name it in ``BATCHINGS``.
"""

from collections.abc import Callable
from itertools import zip_longest

import torch
from torch import Tensor

from bnblind.errors import BadInput, unknown

Batches = list[Tensor]


def cut(indices: Tensor, batch_size: int) -> Batches:
    """Cut ``indices`` into batches; the last may be short.

    A last batch of a single sample joins the one before: no statistics can be taken of it.
    """
    batches = list(indices.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


def _shuffled(indices: Tensor, generator: torch.Generator) -> Tensor:
    return indices[torch.randperm(len(indices), generator=generator)]


def random_batches(labels: Tensor, batch_size: int, generator: torch.Generator) -> Batches:
    """``random``: all samples shuffled."""
    return cut(_shuffled(torch.arange(len(labels)), generator), batch_size)


def label_batches(labels: Tensor, batch_size: int, generator: torch.Generator) -> Batches:
    """``label``: every batch one class, classes in cyclic order (0, 1, ..., 0, 1, ...).

    A class with fewer samples leaves the cycle earlier.
    """
    classes = [(labels == c).nonzero().flatten() for c in labels.unique(sorted=True)]
    by_class = [cut(_shuffled(members, generator), batch_size) for members in classes]
    rounds = zip_longest(*by_class)
    return [batch for cycle in rounds for batch in cycle if batch is not None]


BATCHINGS: dict[str, Callable[[Tensor, int, torch.Generator], Batches]] = {
    "random": random_batches,
    "label": label_batches,
}


def make_batches(
    batching: str, labels: Tensor, batch_size: int, generator: torch.Generator
) -> Batches:
    """The batches of one epoch: index tensors that together hold every sample once.

    Raises:
        BadInput: unknown batching, or a batch size below 2.
    """
    if batching not in BATCHINGS:
        raise unknown("batching", batching, BATCHINGS)
    if batch_size < 2:
        raise BadInput(f"batch_size must be >= 2, to take batch statistics; found {batch_size}")
    return BATCHINGS[batching](labels, batch_size, generator)
