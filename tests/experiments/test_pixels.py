"""From scaled images to dequantized pixels, and likelihoods in bits per dimension."""

import math

import pytest
import torch

from bnblind import BadInput
from bnblind.experiments.flows.invertible import Logit
from bnblind.experiments.flows.pixels import (
    bits_per_dimension,
    dequantize,
    select_pair,
)

LEVELS = 17


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_grey_values_are_the_raw_files(digits, digits_images):
    raw, labels = digits_images
    found = select_pair(digits.test, (9, 8), 10)
    for label, digit in ((1, 9), (0, 8)):
        chosen = found.pixels[found.labels == label]
        assert len(chosen) == (digits.test.labels == digit).sum()
        pictures = {tuple(image) for image in chosen.flatten(1).tolist()}
        assert pictures <= {tuple(image) for image in raw[labels == digit].flatten(1).tolist()}


@pytest.mark.parametrize("pair", [(3, 3), (9, 10), (11, 0)])
def test_a_pair_of_fewer_than_two_classes_is_refused(digits, pair):
    with pytest.raises(BadInput, match=r"a pair needs images of two classes; found .*0 to 9"):
        select_pair(digits.test, pair, 10)


def test_dequantization_fills_each_level_evenly_and_is_seeded():
    grey = torch.arange(LEVELS).float().repeat(2000, 1)
    x = dequantize(grey, LEVELS, generator())
    assert x.min() >= 0
    assert x.max() <= 1
    within = x * LEVELS - grey
    assert within.min() >= -1e-5
    assert within.max() <= 1 + 1e-5
    torch.testing.assert_close(within.mean(0), torch.full((LEVELS,), 0.5), atol=0.03, rtol=0)
    torch.testing.assert_close(within.var(0), torch.full((LEVELS,), 1 / 12), atol=0.01, rtol=0)
    assert torch.equal(x, dequantize(grey, LEVELS, generator()))
    assert not torch.equal(x, dequantize(grey, LEVELS, generator(1)))


def test_bits_are_the_entropy_of_a_density_that_is_flat_within_the_levels():
    """An independent computation: the code length of the best code for known frequencies."""
    shares = torch.rand(LEVELS, generator=generator(), dtype=torch.float64)
    shares /= shares.sum()
    entropy = -(shares * shares.log2()).sum().item()
    log_density = (shares * LEVELS).log()  # of one pixel in [0, 1]
    dimensions = 5
    mean = dimensions * (shares * log_density).sum().item()
    assert bits_per_dimension(mean, dimensions, LEVELS) == pytest.approx(entropy, rel=1e-12)


def test_a_uniform_density_costs_log2_of_the_levels():
    assert bits_per_dimension(0.0, 64, 256) == pytest.approx(8)
    assert bits_per_dimension(64 * math.log(2), 64, 256) == pytest.approx(7)


def test_the_logits_ends_are_finite():
    """Pixels 0 and 1 occur: black background, and rounding up of the highest level."""
    y, log_det = Logit(0.9)(torch.tensor([[0.0, 1.0]]))
    assert y.isfinite().all()
    assert log_det.isfinite().all()
    torch.testing.assert_close(y[0, 1], torch.tensor(math.log(0.95 / 0.05)))
