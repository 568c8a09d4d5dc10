"""RealNVP: exactly invertible, the log-determinant is autograd's, the density integrates to 1."""

import math

import pytest
import torch
from torch.func import jacrev, vmap

from bnblind import BadInput
from bnblind.experiments.flows.coupling_norms import COUPLING_NORMS, build_coupling_norm
from bnblind.experiments.flows.invertible import (
    AffineCoupling,
    Chain,
    FactorOut,
    Flatten,
    Logit,
    Squeeze,
    channel_half,
    checkerboard,
)
from bnblind.experiments.flows.networks import ResidualNetwork, WeightNormConv2d, mlp
from bnblind.experiments.flows.realnvp import COUPLINGS, build_flow
from bnblind.norms import build_norm, norm_names
from tests.helpers.norms import FOR_VECTORS

SHAPE = (1, 8, 8)
SMALL = {"couplings": 2, "width": 8, "depth": 1, "constraint": 0.9}
MASKS = {
    "checkerboard": checkerboard((2, 4, 4)),
    "checkerboard, inverted": ~checkerboard((2, 4, 4)),
    "channels": channel_half((2, 4, 4)),
    "channels, inverted": ~channel_half((2, 4, 4)),
}
FLOWS = [
    (coupling, norm, coupling_norm)
    for coupling in COUPLINGS
    for norm in norm_names()
    for coupling_norm in COUPLING_NORMS
    if (coupling != "mlp" or norm in FOR_VECTORS)
    and (norm == "ln" or coupling_norm == "none")  # the two lie at different places
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def disturb(module):
    """Every parameter and statistic random, so that no map is the identity; evaluation mode."""
    noise = generator()
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=noise))
            elif tensor.is_floating_point():
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=noise))
    return module.eval()


def flow(coupling="mlp", norm="ln", coupling_norm="none", shape=SHAPE, **changes):
    settings = {**SMALL, **changes}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = build_flow(coupling, shape, norm=norm, coupling_norm=coupling_norm, **settings)
    return disturb(built)


def images(n=3, shape=SHAPE, dtype=torch.float64):
    return torch.rand(n, *shape, generator=generator(1), dtype=dtype)


def jacobian_log_dets(transform, x):
    """Log |det| of each sample's Jacobian, by reverse-mode differentiation of one sample."""
    one = vmap(jacrev(lambda sample: transform(sample[None])[0].flatten()))
    return torch.linalg.slogdet(one(x).flatten(2).flatten(1, -2).view(len(x), x[0].numel(), -1))[1]


@pytest.mark.parametrize(("coupling", "norm", "coupling_norm"), FLOWS)
def test_round_trip(coupling, norm, coupling_norm):
    built = flow(coupling, norm, coupling_norm).transform
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        built.to(dtype)
        x = images(dtype=dtype)
        z, _ = built(x)
        assert (z - Logit(0.9)(x)[0].flatten(1)).abs().max() > 0.1, "the flow does nothing"
        assert (built.inverse(z) - x).abs().max() <= tolerance


@pytest.mark.parametrize(("coupling", "norm", "coupling_norm"), FLOWS)
def test_log_determinant_of_the_flow_is_autograds(coupling, norm, coupling_norm):
    built = flow(coupling, norm, coupling_norm).double().transform
    x = images(2)
    torch.testing.assert_close(built(x)[1], jacobian_log_dets(built, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_coupling_changes_the_unmasked_half_by_the_masked_one(mask, network):
    kept = MASKS[mask]

    def norm(shape):
        return build_norm("ln", shape)

    if network == "mlp":
        kept = kept.flatten()
        coupling = AffineCoupling(kept, mlp(32, 8, 1, norm))
    else:
        coupling = AffineCoupling(kept, ResidualNetwork(kept, 8, 1, norm))
    coupling = disturb(coupling).double()
    x = torch.randn(2, *kept.shape, generator=generator(2), dtype=torch.float64)
    y, log_det = coupling(x)
    assert torch.equal(y[:, kept], x[:, kept])
    assert (y[:, ~kept] != x[:, ~kept]).all()
    assert (coupling.inverse(y) - x).abs().max() <= 1e-10
    torch.testing.assert_close(log_det, jacobian_log_dets(coupling, x), rtol=1e-9, atol=1e-9)

    jacobian = vmap(jacrev(lambda sample: coupling(sample[None])[0][0]))(x)
    among_changed = jacobian[0][~kept][:, ~kept]
    off_diagonal = among_changed - torch.diag(among_changed.diagonal())
    assert (off_diagonal == 0).all()
    assert (jacobian[0][~kept][:, kept] != 0).any()


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        (Logit(0.9), (1, 2, 2)),
        (Logit(0.3), (1, 2, 2)),
        (Flatten((2, 2, 2)), (2, 2, 2)),
        (Squeeze(), (2, 4, 4)),
        (FactorOut((4, 2, 2), Chain([Logit(0.5), Flatten((2, 2, 2))])), (4, 2, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_fixed_maps(transform, shape):
    x = images(2, shape)
    y, log_det = transform(x)
    assert (transform.inverse(y) - x).abs().max() <= 1e-10
    torch.testing.assert_close(log_det, jacobian_log_dets(transform, x))


def test_a_squeeze_keeps_squares_together():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    squeezed, _ = Squeeze()(x)
    assert squeezed[0, :, 0, 0].tolist() == [0, 1, 4, 5]
    assert squeezed[0, :, 1, 1].tolist() == [10, 11, 14, 15]


def test_masks():
    board = checkerboard((2, 3, 4))
    assert board[0, 0].tolist() == [True, False, True, False]
    assert board[1, 1].tolist() == [False, True, False, True]
    half = channel_half((4, 2, 2))
    assert half[:, 0, 0].tolist() == [True, True, False, False]
    assert (half == half[:, :1, :1]).all()


def test_the_density_integrates_to_one():
    """A flow on images of two pixels, over a fine grid of the unit square."""
    built = flow("mlp", "bn", "bn", shape=(1, 1, 2), couplings=4).double()
    steps = 400
    middles = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    grid = torch.cartesian_prod(middles, middles).view(-1, 1, 1, 2)
    with torch.no_grad():
        inside = built(grid).exp().mean().item()
        # The logit's constraint leaves a part of the probability outside the unit square.
        samples = built.transform.inverse(
            torch.randn(200_000, 2, generator=generator(), dtype=torch.float64)
        )
    share = ((samples >= 0) & (samples <= 1)).flatten(1).all(1).double().mean().item()
    assert inside == pytest.approx(share, abs=0.005)


def test_a_scalar_norm_is_one_number_and_a_batch_norm_one_a_channel():
    x = 3 + 2 * torch.randn(5, 4, 2, 2, generator=generator(), dtype=torch.float64)
    for name, shape in {"bn": (4, 1, 1), "scalar": (1, 1, 1)}.items():
        layer = build_coupling_norm(name, (4, 2, 2)).double()
        y, log_det = layer(x)
        axes = (0, 2, 3) if name == "bn" else (0, 1, 2, 3)
        var = x.var(axes, correction=0)
        torch.testing.assert_close(y.mean(axes), torch.zeros_like(var), atol=1e-12, rtol=0)
        torch.testing.assert_close(y.var(axes, correction=0), var / (var + 1e-5))
        assert layer.running_mean.shape == shape
        expected = -0.5 * (var + 1e-5).log().expand(4 if name == "bn" else ()).sum()
        expected = expected * (4 if name == "bn" else 16)
        torch.testing.assert_close(log_det, expected.expand(5))
        torch.testing.assert_close(layer.running_var.flatten(), (0.9 + 0.1 * x.var(axes)).view(-1))
        torch.testing.assert_close(layer.running_mean.flatten(), (0.1 * x.mean(axes)).view(-1))


@pytest.mark.parametrize("name", ["bn", "scalar"])
def test_statistics_of_a_batch_are_inverted_in_evaluation_mode_only(name):
    layer = build_coupling_norm(name, (4,))
    with pytest.raises(BadInput, match="inverted in evaluation mode only"):
        layer.inverse(torch.ones(2, 4))


def test_a_batch_of_one_sample():
    """Refused where a statistic has one value only, whichever of the two norms takes it."""
    x = images(1, dtype=torch.float32)
    for norm, coupling_norm, message in (
        ("bn", "none", "at least 2 values per channel"),
        ("ln", "bn", "at least 2 values to take statistics of"),
    ):
        with pytest.raises(BadInput, match=message):
            flow("mlp", norm, coupling_norm).train()(x)
    for norm, coupling_norm in (("ln", "scalar"), ("none", "none")):
        assert flow("mlp", norm, coupling_norm).train()(x).isfinite().all()
    assert flow("mlp", "bn", "bn").eval()(x).isfinite().all()


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_flow_starts_as_the_logit(coupling):
    built = build_flow(coupling, SHAPE, norm="ln", coupling_norm="none", **SMALL)
    x = images(dtype=torch.float32)
    assert torch.equal(
        built.transform(x)[0].sort(1).values, Logit(0.9)(x)[0].flatten(1).sort(1).values
    )


def test_weight_norm_keeps_the_first_weights_and_scales_by_the_gain():
    layer = WeightNormConv2d(3, 4, 3).double()
    x = torch.randn(2, 3, 5, 5, generator=generator(), dtype=torch.float64)
    plain = torch.nn.functional.conv2d(x, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), plain, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        layer.weight.mul_(7)
    torch.testing.assert_close(layer(x), plain, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        layer.gain.mul_(2)
        layer.bias.zero_()
    doubled = torch.nn.functional.conv2d(x, layer.weight / 7, padding=1) * 2
    torch.testing.assert_close(layer(x), doubled, rtol=1e-6, atol=1e-6)


def test_the_scale_penalty_is_of_the_gains_alone():
    built = build_flow("conv", SHAPE, norm="bn", coupling_norm="bn", **SMALL)
    expected = sum(
        module.gain.square().sum().item()
        for module in built.modules()
        if isinstance(module, AffineCoupling | WeightNormConv2d)
    )
    assert expected > 0
    assert built.scale_penalty().item() == pytest.approx(expected, rel=1e-5)


def test_sampling_draws_from_the_generator_alone():
    built = flow("conv", "bn", "scalar")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (built.sample(4, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (4, *SHAPE)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 4, 4), (2, 6, 10)])
def test_images_of_other_sizes(shape):
    built = flow("conv", "ln", "scalar", shape, couplings=1, width=4)
    x = images(2, shape, torch.float32)
    z, _ = built.transform(x)
    assert z.shape == (2, math.prod(shape))
    assert (built.transform.inverse(z) - x).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coupling": "rnn"}, "unknown coupling 'rnn'; allowed: mlp, conv"),
        ({"norm": "BN"}, "unknown norm 'BN'; allowed: bn, "),
        ({"coupling": "conv", "shape": (1, 7, 8)}, "images of even sides; found 7 x 8"),
        ({"coupling_norm": "ln"}, "unknown coupling norm 'ln'; allowed: none, bn, scalar"),
        ({"constraint": 1.0}, "constraint must lie between 0 and 1; found 1.0"),
        ({"norm": "in"}, "norm 'in' needs"),
    ],
)
def test_wrong_words_are_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        flow(**changes)
