"""`split_loss` where something after the layer couples the samples or is random."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import BadInput, build_norm, split_loss
from bnblind.norms import freeze_statistics
from tests.helpers.cases import OTHER_OUTPUTS, C
from tests.helpers.dense import PARTS, batch_norm
from tests.helpers.model_oracle import Oracle
from tests.helpers.models import VECTORS, Function, Model, chain, data, drawn, two_norms, vectors
from tests.helpers.snapshot import snapshot


@pytest.mark.parametrize(
    "second",
    [
        nn.BatchNorm1d(5),
        nn.SyncBatchNorm(5),
        nn.BatchNorm1d(5, track_running_stats=False).eval(),
        build_norm("bn", (5,)),
        build_norm("bn_center", (5,)),
        build_norm("bn_scale", (5,)),
        build_norm("bn_detached", (5,)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_later_layer_that_couples_samples_is_refused_by_name(second):
    model, (x, target) = two_norms(second), data(VECTORS)
    with pytest.raises(BadInput) as refusal:
        split_loss(model, "norm", x, target)
    message = str(refusal.value)
    assert "layer 'after.2'" in message
    assert type(second).__name__ in message
    assert "couples the samples" in message
    assert "downstream='frozen'" in message


@pytest.mark.parametrize("name", ["bn", "bn_center", "bn_scale", "bn_detached", None])
def test_frozen_is_the_model_with_that_layer_in_evaluation_mode(name):
    model, (x, target) = two_norms(name and build_norm(name, (5,))), data(VECTORS)
    found = split_loss(model, "norm", x, target, downstream="frozen")
    assert "with running statistics: after.2" in found.method
    assert model.after[2].training
    model.after[2].eval()
    expected = split_loss(model, "norm", x, target)
    assert "running" not in expected.method
    for part in PARTS:
        torch.testing.assert_close(
            getattr(found, part), getattr(expected, part), rtol=1e-12, atol=1e-13
        )
    Oracle(model, x, target).check(found)


def test_frozen_needs_running_statistics():
    model = two_norms(nn.BatchNorm1d(5, track_running_stats=False))
    with pytest.raises(BadInput, match=r"'after\.2' keeps no running statistics"):
        split_loss(model, "norm", *data(VECTORS), downstream="frozen")


def test_frozen_names_every_layer():
    model, (x, target) = chain(), data(VECTORS)
    found = split_loss(model, "1", x, target, downstream="frozen")
    assert found.method.endswith("with running statistics: 4, 7")
    assert "running" not in split_loss(model, "7", x, target, downstream="frozen").method


@pytest.mark.parametrize("times", [1, 2])
def test_a_later_batch_norm_in_evaluation_mode_couples_nothing(times):
    """Also where it is called twice: its statistics are the same both times."""
    shared = nn.BatchNorm1d(6).eval()
    after = [nn.LeakyReLU(), *[shared, nn.LeakyReLU()] * times, nn.Linear(6, C)]
    model, (x, target) = vectors(nn.BatchNorm1d(6), after=after), data(VECTORS)
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


def test_bn_frozen_behind_the_layer_couples_nothing():
    model, (x, target) = two_norms(build_norm("bn_frozen", (5,))), data(VECTORS)
    freeze_statistics(model, x)
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


DRAWN = r"layer 'after\.0' \(Function\) draws random numbers"
# A function, and what the refusal says of it.
HIDDEN = {
    "F.batch_norm": (
        lambda v: F.batch_norm(v, None, None, training=True),
        f"does not take a batch of 1 rows: .* couple them|{OTHER_OUTPUTS}",
    ),
    "batch_norm_that_takes_one_row": (lambda v: batch_norm(v, 1e-5), OTHER_OUTPUTS),
    "centering": (lambda v: v - v.mean(0), OTHER_OUTPUTS),
    "F.dropout": (lambda v: F.dropout(v, 0.3), DRAWN),
    "F.dropout_behind_a_bias": (lambda v: F.dropout(v + 1, 0.3), DRAWN),
    "whole_rows_dropped": (
        lambda v: v * (torch.rand(len(v), 1) < 0.95) / 0.95,
        DRAWN,
    ),
}
# Refused for all draws, not only where the draws of two rows happen to differ.
RANDOM = {name for name, (_, said) in HIDDEN.items() if "draws" in said}


@pytest.mark.parametrize("way", ["auto", "exact"])
@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
@pytest.mark.parametrize("name", HIDDEN)
def test_functions_that_couple_samples_or_are_random_are_refused(name, activation, side, way):
    function, said = HIDDEN[name]
    after = [Function(function), activation(), nn.Linear(6, C)]
    model, (x, target) = vectors(nn.BatchNorm1d(6), side=side, after=after), data(VECTORS)
    for seed in range(10 if name in RANDOM else 1):
        torch.manual_seed(seed)
        before = snapshot(model, x, target)
        with pytest.raises(BadInput, match=said):
            split_loss(model, "norm", x, target, hdiag=way)
        assert snapshot(model, x, target) == before


@pytest.mark.parametrize("name", ["F.batch_norm", "centering"])
def test_coupling_on_the_way_before_a_skip_joins_is_refused(name):
    """At the point all rows are alike there, and one alone is like all."""
    function, said = HIDDEN[name]

    class Late(Model):
        def forward(self, x):
            h = self.before(x)
            return self.after(F.leaky_relu(function(self.norm(h))) + self.side(h))

    model = drawn(
        Late(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, C), nn.Sequential(nn.Tanh()))
    )
    for way in ("auto", "exact"):
        with pytest.raises(BadInput, match=said):
            split_loss(model, "norm", *data(VECTORS), hdiag=way)


@pytest.mark.parametrize("name", ["F.batch_norm", "centering"])
def test_functions_before_the_layer_may_couple_samples(name):
    """They have done so when the features arrive; the terms start there."""
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.LeakyReLU), data(VECTORS)
    model.before = nn.Sequential(model.before, Function(HIDDEN[name][0]))
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


def test_dropout_module_is_refused_by_name():
    after = [nn.LeakyReLU(), nn.Dropout(0.2), nn.Linear(6, C)]
    model, (x, target) = vectors(nn.BatchNorm1d(6), after=after), data(VECTORS)
    with pytest.raises(BadInput, match=r"'after\.1' \(Dropout, p = 0\.2\).*evaluation mode"):
        split_loss(model, "norm", x, target)
    model.after[1].eval()
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))
