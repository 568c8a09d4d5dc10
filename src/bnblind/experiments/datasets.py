"""A prepared data set: scaled, split tensors."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """One part of a split: ``images`` (n, C, H, W) float32, ``labels`` (n,) int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Dataset:
    """Scaled data, split once for all; ``mean`` and ``std`` (C,) are the training part's."""

    train: Part
    validation: Part
    test: Part
    mean: Tensor
    std: Tensor

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train.images.shape[1:])

    @property
    def classes(self) -> int:
        return int(self.train.labels.max()) + 1


def split_anew(data: Dataset, generator: torch.Generator) -> Dataset:
    """The same samples in parts drawn anew, stratified by label, about as large as they were, and
    scaled by the new training part.
    """
    parts = [getattr(data, name) for name in SPLITS]
    labels = torch.cat([part.labels for part in parts])
    scaled = torch.cat([part.images for part in parts]).double()
    images = scaled * data.std[:, None, None] + data.mean[:, None, None]
    ends = torch.tensor([len(part.labels) for part in parts]).cumsum(0) / len(labels)
    drawn: dict[str, list[Tensor]] = {name: [] for name in SPLITS}
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        cuts = (ends * len(members)).round().long().tolist()
        for name, start, end in zip(SPLITS, [0, *cuts], cuts, strict=False):
            drawn[name].append(members[start:end])
    rows = {name: torch.cat(of).sort().values for name, of in drawn.items()}
    mean = images[rows["train"]].mean((0, 2, 3))
    std = images[rows["train"]].std((0, 2, 3), correction=0)
    found = ((images - mean[:, None, None]) / std[:, None, None]).float()
    own = {name: Part(found[of], labels[of]) for name, of in rows.items()}
    return Dataset(**own, mean=mean, std=std)


SPLITTINGS: dict[str, Callable[[Dataset, torch.Generator], Dataset]] = {
    "prepared": lambda data, generator: data,
    "own": split_anew,
}
"""Which samples are in which part for a run: as prepared, or drawn anew for each seed."""
