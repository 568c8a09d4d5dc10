"""A prepared data set: scaled, split tensors."""

from dataclasses import dataclass

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
