"""The probe's shares and norms against autograd's own gradients."""

import math
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import BlindnessProbe, build_norm
from tests.helpers.cases import normal
from tests.helpers.probing import SHAPES, SHARES, check, expected_row, initialized, loss_of, probed

LAYERS = [
    *product(SHAPES, [{}]),
    (nn.SyncBatchNorm, {}),
    (nn.BatchNorm2d, {"affine": False}),
    (nn.BatchNorm2d, {"track_running_stats": False}),
    (nn.BatchNorm2d, {"momentum": None}),
    (nn.BatchNorm2d, {"eps": 0.5}),
]


@pytest.mark.parametrize("frozen", [False, True], ids=["", "frozen"])
@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=str)
def test_shares_and_norms_are_autograds(kind, options, frozen):
    shape = SHAPES.get(kind, (5, 4, 3, 2))
    layer = initialized(kind(shape[1], **options)).requires_grad_(not frozen)
    probe, x, z = probed(layer, 3 * normal(*shape, seed=2) + 1)
    (row,) = probe.table().to_dict("records")
    assert row["layer"] == "(model)"
    assert (row["channels"], row["pooled"]) == (shape[1], x.numel() // shape[1])
    check(row, expected_row(x, z, layer.weight, layer.eps))


def test_three_dimensional_input_and_this_librarys_bn():
    for layer in (nn.BatchNorm1d(4), build_norm("bn", (4, 7), eps=0.0)):
        probe, x, z = probed(initialized(layer), normal(5, 4, 7))
        check(probe.table().iloc[0], expected_row(x, z, layer.weight, layer.eps))


def test_an_input_without_gradient_gets_the_norm_it_would_have():
    layer, x = initialized(nn.BatchNorm1d(4)), normal(6, 4)
    _, wanted, z = probed(layer, x)
    with BlindnessProbe(layer) as other:
        loss_of(layer(x)).backward()
    check(other.table().iloc[0], expected_row(wanted, z, layer.weight, layer.eps))


def test_evaluation_mode_blocks_nothing():
    layer = initialized(nn.BatchNorm2d(4))
    layer(2 * normal(*SHAPES[nn.BatchNorm2d]))
    layer.eval()
    probe, x, z = probed(layer, normal(*SHAPES[nn.BatchNorm2d], seed=3))
    (row,) = probe.table().to_dict("records")
    assert (row["mean_share"], row["scale_share"], row["passing"], row["pooled"]) == (0, 0, 1, 0)
    check(row, {"grad_norm_in": x.grad.norm().item(), "grad_norm_out": z.grad.norm().item()})


@pytest.mark.parametrize("training", [True, False])
def test_a_gradient_of_zero_has_no_shares(training):
    probe, _, _ = probed(
        nn.BatchNorm1d(4).double().train(training), normal(6, 4), lambda z: 0 * z.sum()
    )
    (row,) = probe.table().to_dict("records")
    assert all(math.isnan(row[name]) for name in SHARES)
    assert (row["grad_norm_in"], row["grad_norm_out"]) == (0, 0)


@pytest.mark.parametrize(
    ("scale", "frozen"), [(1e-25, True), (1e-15, False), (1e-15, True), (1e15, False), (1e15, True)]
)
def test_float32_gradients_of_any_size_have_their_shares(scale, frozen):
    layer, x = nn.BatchNorm2d(4).requires_grad_(not frozen), normal(5, 4, 3, 2).float()
    reference, _, _ = probed(layer, x)
    scaled, _, _ = probed(layer, x, lambda z: scale * loss_of(z))
    expected = reference.table().iloc[0]
    row = scaled.table().iloc[0]
    check(row, expected[SHARES].to_dict(), 1e-5)
    for name in ("grad_norm_in", "grad_norm_out"):
        assert row[name] == pytest.approx(scale * expected[name], rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "gradient", "spread"),
    [
        ((1e-25, 1.0, 2.0, 3.0), 1.0, 1.0),
        ((2e-4, -2e-4, 1.0, -1.0), 1.0, 1.0),
        ((2e-4,) * 4, 1e-16, 1e3),
    ],
)
def test_norms_are_autograds_whatever_the_weights_are(weights, gradient, spread):
    """In float32, in which squares of what is small or large are lost."""
    layer = nn.BatchNorm2d(4)
    layer.weight.data = torch.tensor(weights)
    probe, x, z = probed(
        layer, (spread * normal(5, 4, 3, 2)).float(), lambda z: gradient * loss_of(z)
    )
    (row,) = probe.table().to_dict("records")
    for name, found in (("grad_norm_in", x.grad), ("grad_norm_out", z.grad)):
        assert row[name] == pytest.approx(found.double().norm().item(), rel=1e-5)


def test_in_float64_the_outputs_norm_is_measured_to_the_last_bit():
    """What the pipeline publishes: made of the other energies, the last digit would differ."""
    for seed in range(10):
        probe, _, z = probed(nn.BatchNorm1d(1).double(), normal(40, 1, seed=seed))
        (row,) = probe.table().to_dict("records")
        assert row["grad_norm_out"] == math.sqrt(z.grad.square().sum().item()), seed


@pytest.mark.parametrize("scale", [1e-25, 1e-19, 1e25])
def test_what_cannot_be_squared_is_no_gradient_of_0(scale):
    """Where the shares are read off what the backward pass computed."""
    layer, x = nn.BatchNorm2d(4), normal(5, 4, 3, 2).float()
    probe, _, _ = probed(layer, x, lambda z: scale * loss_of(z))
    (row,) = probe.table().to_dict("records")
    assert (row["found"], row["not_finite"]) == ("not finite", 1)
    assert all(math.isnan(row[name]) for name in SHARES)


def test_channels_without_gradient_leave_the_layers_shares_defined():
    layer = nn.BatchNorm1d(4).double()
    layer.weight.data[1] = 0
    probe, x, z = probed(layer, normal(6, 4), lambda z: loss_of(z[:, :3]))
    check(probe.table().iloc[0], expected_row(x, z, layer.weight, layer.eps))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mixed", [True, False])
def test_half_precision_is_read_in_float32(dtype, mixed):
    """As close to the shares of the same gradients in float64 as the rounding of x allows."""
    layer = nn.BatchNorm2d(4) if mixed else nn.BatchNorm2d(4).to(dtype)
    x = (10 * normal(16, 4, 5, 5) + 30).to(dtype)
    gradient = normal(16, 4, 5, 5, seed=5).to(dtype)
    with BlindnessProbe(layer) as probe:
        layer(x.requires_grad_()).backward(gradient)
    exact = nn.BatchNorm2d(4).double()
    with BlindnessProbe(exact) as reference:
        exact(x.detach().double()).backward(gradient.double())
    row = probe.table().iloc[0]
    assert probe.table()[SHARES].sum(axis=1).item() == pytest.approx(1, abs=1e-5)
    check(row, reference.table().iloc[0][SHARES].to_dict(), 1e-4)


def linear_head(labels, seed):
    """Shares of a batch norm before a linear softmax head."""
    model = initialized(nn.Sequential(nn.BatchNorm1d(16, affine=False), nn.Linear(16, 10)), seed)
    model[1].weight.data *= 1e-3
    with BlindnessProbe(model) as probe:
        F.cross_entropy(model(normal(64, 16, seed=seed).requires_grad_()), labels).backward()
    return probe.table().iloc[0]


def test_of_label_pure_batches_next_to_nothing_passes_before_a_flat_softmax():
    """A batch that shares one loss: its first-order term is blocked (T1), and there is no other."""
    pure = linear_head(torch.full((64,), 3), 0)
    mixed = linear_head(torch.arange(64) % 10, 0)
    assert pure["passing"] < 1e-4
    assert pure["mean_share"] > 0.999
    assert mixed["passing"] > 0.5
