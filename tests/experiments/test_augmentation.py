"""Augmentation: each image is a shifted, perhaps mirrored, window of itself; seeded."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.augmentation import AUGMENTATIONS, PADDING, Augmented, crop_flip
from bnblind.experiments.networks.training import NetworkTrainer
from tests.experiments.test_network_training import cell, same_weights, train


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_image_is_a_window_of_itself_perhaps_mirrored() -> None:
    """All windows and both directions occur, about equally often; against slices one by one."""
    pixels = torch.arange(2 * 3 * 5 * 6, dtype=torch.uint8).view(2, 3, 5, 6) + 1
    many = pixels[:1].expand(2000, -1, -1, -1)
    changed = crop_flip(many, generator())
    padded = F.pad(pixels[0], [PADDING] * 4)
    windows = {}
    for top in range(2 * PADDING + 1):
        for left in range(2 * PADDING + 1):
            window = padded[:, top : top + 5, left : left + 6]
            for mirrored, image in ((False, window), (True, window.flip(2))):
                windows[bytes(image.flatten().tolist())] = mirrored
    found = [bytes(image.flatten().tolist()) for image in changed]
    assert {*found} <= {*windows}
    assert len({*found}) > 0.95 * len(windows)
    assert sum(windows[image] for image in found) / 2000 == pytest.approx(0.5, abs=0.1)


def test_images_of_a_batch_are_changed_apart_and_by_the_seed() -> None:
    pixels = torch.randint(0, 256, (64, 1, 8, 8), generator=generator(1)).byte()
    first, again, other = (crop_flip(pixels, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == torch.uint8
    same = pixels[:1].expand(64, -1, -1, -1)
    assert len(crop_flip(same, generator()).unique(dim=0)) > 32


def test_without_augmentation_nothing_is_drawn(digits: Dataset) -> None:
    rows = torch.tensor([3, 1])
    plain = Augmented(digits.train, AUGMENTATIONS["none"], generator())
    assert torch.equal(plain[rows], digits.train[rows])


def test_training_images_alone_are_changed_anew_in_each_epoch(digits: Dataset) -> None:
    augmented = cell(augment="crop_flip", epochs=3)
    trainer, rows = NetworkTrainer(augmented, 0, digits), torch.arange(64)
    trainer.epoch = 1
    first, again = trainer.inputs()[rows], trainer.inputs()[rows]
    trainer.epoch = 2
    assert torch.equal(first, again)
    assert not torch.equal(first, trainer.inputs()[rows])
    assert not torch.equal(first, digits.train[rows])
    runs = [train(augmented, 0, digits) for _ in range(2)]
    assert same_weights(runs[0].weights[3], runs[1].weights[3])
    start = train(cell(epochs=3), 0, digits)
    assert not same_weights(start.weights[3], runs[0].weights[3])
    still = [
        dataclasses.replace(augmented, lr=0.0, norm="none"),
        cell(lr=0.0, norm="none", epochs=3),
    ]
    measured = [train(own, 0, digits).metrics for own in still]
    tested = [[row for row in of if row["metric"].startswith("test")] for of in measured]
    assert tested[0] == tested[1]
