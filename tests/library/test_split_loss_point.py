"""The expansion point of `split_loss`, and the kinks that it lies on."""

import pytest
import torch
from torch import nn

from bnblind import BadInput, build_norm, split_loss
from tests.helpers.cases import C, normal
from tests.helpers.model_oracle import Oracle
from tests.helpers.models import IMAGES, VECTORS, Model, built, data, drawn, images, vectors


def test_mean_of_vectors_is_exactly_zero():
    """Not the batch mean of y, which is 0 but for rounding, and would open units by chance."""
    for norm in (nn.BatchNorm1d(6), *(build_norm(n, (6,)) for n in ("bn", "bn_center"))):
        found = split_loss(vectors(norm), "norm", *data(VECTORS))
        assert torch.equal(found.y0, torch.zeros(6, dtype=torch.float64))
        assert found.y.mean(0).abs().max() > 0


def test_mean_of_one_pixel_images_is_exactly_zero():
    model = drawn(
        nn.Sequential(
            nn.Linear(5, 6),
            nn.Unflatten(1, (6, 1, 1)),
            nn.BatchNorm2d(6),
            nn.Flatten(),
            nn.Linear(6, C),
        )
    )
    found = split_loss(model, "2", *data(VECTORS))
    assert not found.y0.any()


def test_mean_of_images_is_that_of_each_position():
    found = split_loss(images(nn.BatchNorm2d(4)), "norm", *data(IMAGES))
    torch.testing.assert_close(found.y0, found.y.mean(0))
    assert found.y0.std((1, 2)).min() > 0.01


@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "RMSNorm", "bn_scale", "none"])
def test_mean_of_other_layers_is_that_of_the_batch(name):
    model, x, target = built(name, nn.ReLU)
    found = split_loss(model, "norm", x, target)
    torch.testing.assert_close(found.y0, found.y.mean(0))


@pytest.mark.parametrize("name", ["bn_center", "bn_detached"])
def test_mean_of_centering_layers_in_evaluation_mode_is_that_of_the_batch(name):
    """They take their running mean then, which is not the batch's."""
    model, x, target = built(name, nn.ReLU)
    found = split_loss(model.eval(), "norm", x, target)
    torch.testing.assert_close(found.y0, found.y.mean(0))
    assert found.y0.abs().min() > 0.01


def test_points_that_may_be_asked_for():
    model, (x, target) = vectors(nn.BatchNorm1d(6)), data(VECTORS)
    point = normal(6, seed=7)
    found = split_loss(model, "norm", x, target, y0=point)
    Oracle(model, x, target, y0=point).check(found)
    assert not split_loss(model, "norm", x, target, y0=None).y0.any()
    with pytest.raises(BadInput, match="unknown y0 'median'; allowed: mean, None, a tensor"):
        split_loss(model, "norm", x, target, y0="median")
    with pytest.raises(BadInput, match=r"y0 must have shape \(6,\); found \(5,\)"):
        split_loss(model, "norm", x, target, y0=torch.zeros(5))


def max_pooled():
    after = [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, C)]
    return drawn(Model(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Sequential(*after)))


@pytest.mark.parametrize("way", ["auto", "exact"])
def test_zero_ties_a_max_pool(way):
    model, (x, target) = max_pooled(), data(IMAGES)
    found = split_loss(model, "norm", x, target, y0=None, hdiag=way)
    assert found.kinks == 16  # four windows of each of four channels
    assert found.undefined
    assert split_loss(model, "norm", x, target, hdiag=way).kinks == 0


@pytest.mark.parametrize("way", ["auto", "exact"])
@pytest.mark.parametrize("inplace", [False, True])
def test_zero_puts_relus_without_bias_on_the_kink(inplace, way):
    after = [nn.ReLU(inplace=inplace), nn.Linear(6, C)]
    model, (x, target) = vectors(nn.BatchNorm1d(6), after=after), data(VECTORS)
    assert split_loss(model, "norm", x, target, hdiag=way).kinks == 0
    model.norm.bias.data[:4] = 0
    found = split_loss(model, "norm", x, target, hdiag=way)
    assert found.kinks == 4
    assert found.undefined


def test_units_that_are_dead_for_every_input_are_benign():
    after = [nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, C)]
    model, (x, target) = vectors(nn.BatchNorm1d(6), after=after), data(VECTORS)
    model.after[1].weight.data[:2] = 0
    model.after[1].bias.data[:2] = 0
    assert split_loss(model, "norm", x, target).kinks == 0


def test_kinks_of_every_sample_count():
    """With beta = 0 the skip alone decides; the first sample's units are all open."""
    norm = nn.BatchNorm1d(6)
    model, (x, target) = vectors(norm, nn.ReLU, nn.ReLU()), data(VECTORS)
    model.before.bias.data.zero_()
    norm.bias.data.zero_()
    model.before.weight.data.abs_()
    x = -x.abs()
    x[0] *= -1
    found = split_loss(model, "norm", x, target)
    assert found.kinks > 0
    assert found.undefined
