"""Each normalization variant: its forward pass, and what it does to batches and modes."""

from itertools import product

import pytest
import torch
from torch import nn

from bnblind import BadInput, build_norm
from bnblind.norms import freeze_statistics, norm_names

EPS = 1e-3
SHAPES = [(8,), (12, 5), (8, 3, 4)]
BATCH_STATISTICS = ["bn", "bn_center", "bn_scale", "bn_detached"]


def batch(shape, seed=0, n=6):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    return 3 * x + torch.arange(shape[0], dtype=torch.float64).view(-1, *[1] * (len(shape) - 1))


def with_affine(layer, seed=1):
    """The layer in float64, with an affine phase that does something."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.double().parameters():
        nn.init.normal_(parameter, generator=generator)
    return layer


def ours(name, shape):
    return with_affine(build_norm(name, shape, EPS))


def torchs(name, shape):
    channels, positions = shape[0], len(shape) - 1
    if name == "bn":
        layer = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[positions](channels, EPS)
    elif name == "ln":
        layer = nn.LayerNorm(shape, EPS)
    elif name == "gn":
        layer = nn.GroupNorm({8: 2, 12: 3}[channels], channels, EPS)
    else:
        kind = (None, nn.InstanceNorm1d, nn.InstanceNorm2d)[positions]
        layer = kind(channels, EPS, affine=True)
    return with_affine(layer)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def per_channel(v, x):
    return v.view(-1, *[1] * (x.dim() - 2))


def moments(x):
    """Biased mean and variance of each channel over samples and positions, shaped like x."""
    columns = x.transpose(0, 1).flatten(1)
    return per_channel(columns.mean(1), x), per_channel(columns.var(1, correction=0), x)


@pytest.mark.parametrize(
    ("name", "shape"),
    [*product(["bn", "ln", "gn"], SHAPES), *product(["in"], SHAPES[1:])],
    ids=str,
)
def test_forward_is_torchs_layer(name, shape):
    """In training mode over three batches, then in evaluation mode, buffers included."""
    layer, reference = ours(name, shape), torchs(name, shape)
    for seed in range(3):
        close(layer(batch(shape, seed)), reference(batch(shape, seed)))
    for buffer, value in layer.named_buffers():
        close(value, dict(reference.named_buffers())[buffer])
    close(layer.eval()(batch(shape, 9)), reference.eval()(batch(shape, 9)))


def test_bn_keeps_running_statistics():
    assert {name for name, _ in ours("bn", (8,)).named_buffers()} == {"running_mean", "running_var"}


@pytest.mark.parametrize("shape", SHAPES)
def test_bn_detached_has_bns_forward_pass(shape):
    bn, detached = ours("bn", shape), ours("bn_detached", shape)
    close(bn(batch(shape)), detached(batch(shape)))
    for buffer, value in detached.named_buffers():
        close(value, dict(bn.named_buffers())[buffer])
    close(bn.eval()(batch(shape, 9)), detached.eval()(batch(shape, 9)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize("name", norm_names())
def test_statistics_are_what_the_standardization_phase_uses(name, shape, training):
    """Also where torch computes both phases in one kernel; and the affine phase follows."""
    norm, x = ours(name, shape), batch(shape)
    freeze_statistics(norm, batch(shape, 5))
    norm(batch(shape, 6))  # moves the running statistics away from 0 and 1
    norm.train(training)
    mean, scale = norm.statistics(x)
    close(norm.standardize(x), (x - mean) / scale)
    close(norm(x), norm.affine((x - mean) / scale))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_bn_frozen_is_bn_in_evaluation_mode_with_the_data_s_statistics(shape, training):
    frozen = ours("bn_frozen", shape).train(training)
    freeze_statistics(frozen, batch(shape, 5))
    reference = torchs("bn", shape).eval()
    mean, var = moments(batch(shape, 5))
    reference.running_mean.copy_(mean.flatten())
    reference.running_var.copy_(var.flatten())
    for seed in range(2):  # the first batch must not move the statistics
        close(frozen(batch(shape, seed)), reference(batch(shape, seed)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["bn_center", "bn_scale"])
def test_half_of_bn(name, shape):
    """Batch statistics while training, running statistics in evaluation mode."""
    norm, x = build_norm(name, shape, EPS).double(), batch(shape)
    mean, var = moments(x)
    close(norm(x), x - mean if name == "bn_center" else x / (var + EPS).sqrt())
    norm.eval()
    mean, var = (per_channel(v, x) for v in (norm.running_mean, norm.running_var))
    close(norm(x), x - mean if name == "bn_center" else x / (var + EPS).sqrt())


@pytest.mark.parametrize("name", ["bn_center", "bn_scale", "bn_affine", "bn_frozen"])
def test_controls_share_bns_affine_phase(name):
    x, norm = batch((8, 5)), ours(name, (8, 5))
    expected = norm.weight.view(-1, 1) * norm.standardize(x) + norm.bias.view(-1, 1)
    close(norm(x), expected)
    assert norm.weight.shape == norm.bias.shape == (8,)


def test_bn_affine_has_no_standardization_and_none_has_nothing():
    x = batch((8,))
    assert torch.equal(ours("bn_affine", (8,)).standardize(x), x)
    none = ours("none", (8,))
    assert none(x) is x
    assert not none.state_dict()


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(1, 1), (3, 1), (4, 1), (7, 1), (8, 2), (12, 3), (30, 6), (32, 8), (64, 8), (128, 8)],
)
def test_groups_divide_the_channels_and_hold_four_or_more(channels, groups):
    assert build_norm("gn", (channels,)).groups() == groups


def test_unknown_norm_lists_the_allowed_ones():
    with pytest.raises(BadInput, match="unknown norm 'batchnorm'; allowed: ") as error:
        build_norm("batchnorm", (4,))
    assert str(error.value).split("allowed: ")[1].split(", ") == norm_names()


def test_in_without_positions_is_refused():
    with pytest.raises(BadInput, match=r"'in' needs .*found \(4,\)"):
        build_norm("in", (4,))


@pytest.mark.parametrize("name", BATCH_STATISTICS)
def test_a_batch_of_one_sample_is_refused_in_training_mode_only(name):
    norm = ours(name, (4,))
    before = [b.clone() for b in norm.buffers()]
    with pytest.raises(BadInput, match=r"at least 2 values per channel.*\(1, 4\)"):
        norm(batch((4,), n=1))
    assert all(map(torch.equal, norm.buffers(), before))
    norm.eval()(batch((4,), n=1))
    ours(name, (4, 3))(batch((4, 3), n=1))  # three positions per channel are enough


@pytest.mark.parametrize("name", sorted(set(norm_names()) - set(BATCH_STATISTICS)))
def test_a_batch_of_one_sample_is_fine_without_batch_statistics(name):
    assert ours(name, (4, 3))(batch((4, 3), n=1)).isfinite().all()


def test_freezing_leaves_a_model_without_frozen_layers_untouched():
    model = nn.Sequential(build_norm("bn", (4,)), nn.Dropout(), nn.Linear(4, 2)).double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng = torch.get_rng_state()
    freeze_statistics(model, batch((4,)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)


def test_layers_are_frozen_front_to_back():
    """The second layer's statistics are of what it sees once the first is frozen."""
    first, second = ours("bn_frozen", (4,)), ours("bn_frozen", (3,))
    between = with_affine(nn.Linear(4, 3))
    freeze_statistics(nn.Sequential(first, between, nn.ReLU(), second), batch((4,)))
    seen = between(first(batch((4,)))).relu()
    mean, var = moments(seen)
    close(second.running_mean, mean.detach())
    close(second.running_var, var.detach())
