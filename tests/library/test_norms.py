"""Each normalization variant: its forward pass, and what it does to batches and modes."""

import copy
from itertools import product

import pytest
import torch
from torch import nn

from bnblind import BadInput, build_norm
from bnblind.norms import freeze_statistics, norm_names

EPS = 1e-3
SHAPES = [(8,), (12, 5), (8, 3, 4)]
BATCH_STATISTICS = [
    *("bn", "bn_center", "bn_scale", "bn_detached", "bn_zeroed"),
    *("bn_renorm", "identity_blocked", "identity_blocked_scaled"),
]


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
    # Of copies: running averages go on with every call.
    mean, scale = copy.deepcopy(norm).statistics(x)
    close(copy.deepcopy(norm).standardize(x), (x - mean) / scale)
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


def gradient(norm, x, G):
    """Of the layer's input, where its output has the gradient ``G``."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(norm(x), x, G)[0]


def blocked(x, G):
    """``G`` without its batch mean and its part along the standardized features, and sigma."""
    mean, var = moments(x)
    y = (x - mean) / (var + EPS).sqrt()
    along_y, _ = moments(y * G)
    return G - moments(G)[0] - y * along_y, (var + EPS).sqrt()


@pytest.mark.parametrize("shape", SHAPES)
def test_running_averages_are_of_the_batches_before(shape):
    """In training as in evaluation mode; weighted .01 against .99, from 0 and 1."""
    norm = build_norm("bn_ema", shape, EPS).double()
    mean, var = (torch.full(shape[:1], value, dtype=torch.float64) for value in (0, 1))
    for seed in range(3):
        x = batch(shape, seed)
        close(norm(x), (x - per_channel(mean, x)) / (per_channel(var, x) + EPS).sqrt())
        own_mean, own_var = (v.flatten() for v in moments(x))
        mean, var = 0.99 * mean + 0.01 * own_mean, 0.99 * var + 0.01 * own_var
    norm.eval()
    for _ in range(2):  # the first batch must not move them
        close(norm(x), (x - per_channel(mean, x)) / (per_channel(var, x) + EPS).sqrt())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_renormalization_has_the_running_averages_forward_pass_bit_for_bit(shape, dtype):
    averaged, renormalized = (ours(n, shape).to(dtype) for n in ("bn_ema", "bn_renorm"))
    for seed in range(4):
        x = batch(shape, seed).to(dtype)
        assert torch.equal(averaged(x), renormalized(x))
    for buffer, value in averaged.named_buffers():
        assert torch.equal(value, dict(renormalized.named_buffers())[buffer])
    x = batch(shape, 9).to(dtype)
    assert torch.equal(averaged.eval()(x), renormalized.eval()(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_renormalization_has_the_gradient_of_its_definition(shape):
    """R y + d with r and d outside the graph; in evaluation mode the averages are constants."""
    norm, G = ours("bn_renorm", shape), batch(shape, 7)
    norm(batch(shape, 6))
    x = batch(shape).requires_grad_()
    mean, var = moments(x)
    sigma, running = (var + EPS).sqrt(), (per_channel(norm.running_var, x) + EPS).sqrt()
    r = (sigma / running).detach()
    d = ((mean - per_channel(norm.running_mean, x)) / running).detach()
    z = per_channel(norm.weight, x) * ((x - mean) / sigma * r + d) + per_channel(norm.bias, x)
    (expected,) = torch.autograd.grad(z, x, G)
    close(gradient(norm, x.detach(), G), expected)
    norm.eval()
    running = (per_channel(norm.running_var, x) + EPS).sqrt()
    close(gradient(norm, x.detach(), G), per_channel(norm.weight, x) * G / running)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["bn_ema", "bn_frozen"])
def test_no_gradient_passes_through_stored_statistics(name, shape):
    norm, x, G = build_norm(name, shape, EPS).double(), batch(shape), batch(shape, 7)
    freeze_statistics(norm, x)
    scale = (per_channel(norm.running_var, x) + EPS).sqrt()
    close(gradient(norm, x, G), G / scale)


@pytest.mark.parametrize("shape", SHAPES)
def test_identities_with_bns_backward_pass(shape):
    """Against T4 written out: what blocks, and with 1 / sigma; in training mode alone."""
    x, G = batch(shape), batch(shape, 7)
    plain, scaled = (ours(n, shape) for n in ("identity_blocked", "identity_blocked_scaled"))
    passes, sigma = blocked(x, G)
    close(gradient(plain, x, G), passes)
    close(gradient(scaled, x, G), passes / sigma)
    close(gradient(torchs("bn", shape), x, per_channel(1 / torchs("bn", shape).weight, x) * G),
          passes / sigma)  # fmt: skip
    for norm in (plain, scaled):
        assert torch.equal(norm(x), x)
        assert not norm.state_dict()
        assert torch.equal(gradient(norm.eval(), x, G), G)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "forward"), [("bn_zeroed", "bn"), ("identity_zeroed", "none")])
def test_a_gradient_of_zero_passes(name, forward, shape):
    """Zeros, not none at all: weight decay goes on acting on the weights before the norm."""
    zeroed, reference, x = ours(name, shape), ours(forward, shape), batch(shape)
    close(zeroed(x), reference(x))
    assert torch.equal(gradient(zeroed, x, batch(shape, 7)), torch.zeros_like(x))
    for parameter, other in zip(zeroed.parameters(), reference.parameters(), strict=True):
        own, expected = (
            torch.autograd.grad((norm(x) * batch(shape, 7)).sum(), p)[0]
            for norm, p in ((zeroed, parameter), (reference, other))
        )
        close(own, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_rms_is_torchs_layer_and_a_bias(shape):
    norm, reference = ours("rms", shape), nn.RMSNorm(shape, EPS).double()
    reference.weight.data.copy_(norm.weight.data)
    x, G = batch(shape), batch(shape, 7)
    close(norm(x), reference(x) + norm.bias)
    close(gradient(norm, x, G), gradient(reference, x, G))


@pytest.mark.parametrize("shape", SHAPES)
def test_dynamic_tanh(shape):
    norm, x, G = build_norm("dyt", shape).double(), batch(shape), batch(shape, 7)
    assert norm.alpha.item() == 0.5
    norm.alpha.data.fill_(0.3)
    close(norm(x), (0.3 * x).tanh())
    close(gradient(norm, x, G), 0.3 * G / (0.3 * x).cosh().square())
    (slope,) = torch.autograd.grad((norm(x) * G).sum(), norm.alpha)
    close(slope, (G * x / (0.3 * x).cosh().square()).sum())
    assert norm.statistics(torch.zeros(2, *shape).double())[1].isfinite().all()


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
