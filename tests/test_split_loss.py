"""`split_loss` against full Hessians on whole models, and every trap of it.

The models are written in three pieces, before, at and after the analysed layer, so that the
oracle can put them together without the library.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import BadInput, build_norm, split_head, split_loss
from bnblind.norms import NORMS, LayerNorm, freeze_statistics
from tests.cases import C, log_cosh, normal
from tests.dense import PARTS, batch_norm, row_loss, taylor
from tests.snapshot import snapshot

EXACT = 1e-12
N = 6
VECTORS, IMAGES = (N, 5), (N, 2, 4, 4)


class Model(nn.Module):
    """``after(norm(h) [+ side(h)])`` with ``h = before(x)``."""

    def __init__(self, before, norm, after, side=None):
        super().__init__()
        self.before, self.norm, self.after, self.side = before, norm, after, side

    def forward(self, x):
        h = self.before(x)
        z = self.norm(h)
        if self.side is not None:
            z = z + self.side(h)
        return self.after(z)


def drawn(module, seed=0):
    """Every parameter and running statistic a number of its own."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    for parameter in module.parameters():
        parameter.data = 0.5 * torch.randn(
            parameter.shape, generator=generator, dtype=torch.float64
        )
    for name, buffer in module.named_buffers():
        if "running_mean" in name:
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
        if "running_var" in name:
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module


def vectors(norm, activation=nn.ReLU, side=None, features=6, seed=0, after=None):
    if after is None:
        after = [activation(), nn.Linear(features, 5), activation(), nn.Linear(5, C)]
    return drawn(Model(nn.Linear(5, features), norm, nn.Sequential(*after), side), seed)


def images(norm, activation=nn.ReLU, side=None, seed=0):
    after = [activation(), nn.Conv2d(4, 3, 3), activation(), nn.AvgPool2d(2), nn.Flatten()]
    return drawn(
        Model(nn.Conv2d(2, 4, 3, padding=1), norm, nn.Sequential(*after, nn.Linear(3, C)), side),
        seed,
    )


def data(shape, seed=20):
    return normal(*shape, seed=seed) + 0.5, torch.arange(shape[0]) % C


def standardized(norm, h):
    """The layer's standardization phase by torch's functions."""
    match norm:
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d():
            return batch_norm(h, norm.eps)
        case nn.LayerNorm():
            return F.layer_norm(h, norm.normalized_shape, eps=norm.eps)
        case nn.RMSNorm():
            return F.rms_norm(h, norm.normalized_shape, eps=norm.eps)
        case nn.GroupNorm():
            return F.group_norm(h, norm.num_groups, eps=norm.eps)
        case nn.InstanceNorm2d():
            return F.instance_norm(h, eps=norm.eps)
    axes = (0, *range(2, h.dim()))
    mean, scale = h.mean(axes, keepdim=True), (h.var(axes, False, keepdim=True) + norm.eps).sqrt()
    match type(norm).__name__:
        case "NoNorm" | "AffineOnly":
            return 1 * h
        case "BatchNorm":
            return batch_norm(h, norm.eps)
        case "LayerNorm":
            return F.layer_norm(h, h.shape[1:], eps=norm.eps)
        case "GroupNorm":
            return F.group_norm(h, norm.groups(), eps=norm.eps)
        case "InstanceNorm":
            return F.instance_norm(h, eps=norm.eps)
        case "BatchCentering":
            return h - mean
        case "BatchScaling":
            return h / scale
        case "DetachedBatchNorm":
            return (h - mean.detach()) / scale.detach()
        case "FrozenBatchNorm":
            shape = (-1, *[1] * (h.dim() - 2))
            own = (norm.running_var + norm.eps).sqrt().view(shape)
            return (h - norm.running_mean.view(shape)) / own
    raise AssertionError(norm)


def affine(norm, rows):
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    by_element = isinstance(norm, (nn.LayerNorm, nn.RMSNorm, LayerNorm))
    shape = (-1,) if by_element and rows.dim() == 2 else (-1, *[1] * (rows.dim() - 2))
    for parameter, apply in ((weight, torch.mul), (bias, torch.add)):
        if parameter is not None:
            rows = apply(rows, parameter if by_element else parameter.view(shape))
    return rows


class Oracle:
    """The dense split of a `Model`, whose ``after`` and ``side`` treat rows independently.

    Where they do not (batch statistics), ``side`` (h) -> (n, ...) and ``after`` (m, ...) -> (m, C)
    say what to use in their place.
    """

    def __init__(self, model, x, target, y0=None, loss="cross_entropy", side=None, after=None):
        h = model.before(x).detach()
        self.leaf = h.requires_grad_()
        self.after_standardization = standardized(model.norm, self.leaf)
        self.y = self.after_standardization.detach()
        if y0 is None:
            centred = isinstance(model.norm, nn.BatchNorm1d) or type(model.norm).__name__ in (
                "BatchNorm",
                "BatchCentering",
                "DetachedBatchNorm",
            )
            y0 = torch.zeros_like(self.y[0]) if centred and h.dim() == 2 else self.y.mean(0)
        self.y0 = y0
        after, side = after or model.after, side or model.side
        extra = torch.zeros_like(self.y) if side is None else side(h).detach()
        of_outputs = row_loss(loss)

        def of_row(row, own, extra):
            z = affine(model.norm, row[None]) + extra[None]
            return of_outputs(after(z)[0], own)

        self.dense = taylor(of_row, self.y, y0, target, extra)

    def before(self, G):
        return torch.autograd.grad(self.after_standardization, self.leaf, G, retain_graph=True)[0]

    def check(self, found, allowed=EXACT):
        dense, unit = self.dense, self.dense.largest()
        assert (found.y - self.y).abs().max() <= allowed * self.y.abs().max()
        assert (found.y0 - self.y0).abs().max() <= allowed
        for part in PARTS:
            G = getattr(found, part)
            assert (G - getattr(dense, part)).abs().max() <= allowed * unit, part
            expected = self.before(G)
            if found.carry is not None:
                reach = max(expected.abs().max().item(), (G.abs().max() / self.sigma()).item())
                assert (found.carry(G) - expected).abs().max() <= allowed * reach, part
        assert (found.hdiag - dense.hdiag).abs().max() <= allowed * dense.hdiag.abs().max()

    def sigma(self):
        """A bound from below on what the layer divides by, by channel."""
        axes = (0, *range(2, self.leaf.dim()))
        return self.leaf.detach().var(axes, False).min().sqrt()


# Exactness


LAYERS = {
    "BatchNorm1d": (vectors, lambda: nn.BatchNorm1d(6)),
    "BatchNorm1d_eps": (vectors, lambda: nn.BatchNorm1d(6, eps=1e-2)),
    "BatchNorm1d_eps0": (vectors, lambda: nn.BatchNorm1d(6, eps=0.0)),
    "BatchNorm1d_plain": (vectors, lambda: nn.BatchNorm1d(6, affine=False)),
    "BatchNorm2d": (images, lambda: nn.BatchNorm2d(4)),
    "LayerNorm": (vectors, lambda: nn.LayerNorm(6)),
    "LayerNorm_plain": (vectors, lambda: nn.LayerNorm(6, elementwise_affine=False)),
    "LayerNorm_images": (images, lambda: nn.LayerNorm((4, 4, 4))),
    "LayerNorm_without_bias": (vectors, lambda: nn.LayerNorm(6, bias=False)),
    "RMSNorm": (vectors, lambda: nn.RMSNorm(6)),
    "GroupNorm": (vectors, lambda: nn.GroupNorm(2, 6)),
    "GroupNorm_images": (images, lambda: nn.GroupNorm(2, 4)),
    "InstanceNorm2d": (images, lambda: nn.InstanceNorm2d(4)),
    "InstanceNorm2d_affine": (images, lambda: nn.InstanceNorm2d(4, affine=True)),
    **{name: (vectors, lambda name=name: build_norm(name, (6,))) for name in NORMS if name != "in"},
    **{f"{name}_images": (images, lambda name=name: build_norm(name, (4, 4, 4))) for name in NORMS},
}


def built(name, activation, **options):
    make, layer = LAYERS[name]
    x, target = data(VECTORS if make is vectors else IMAGES)
    return make(layer(), activation, **options), x, target


@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_against_the_dense_hessian(name, activation):
    model, x, target = built(name, activation)
    found = split_loss(model, "norm", x, target)
    Oracle(model, x, target).check(found)
    assert found.method.startswith("fused" if activation is nn.LeakyReLU else "exact")
    assert "evaluation mode" not in found.method
    assert found.y.shape == model.before(x).shape


@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_with_a_way_around_it(name, activation):
    model, x, target = built(name, activation, side=nn.Tanh())
    found = split_loss(model, "norm", x, target)
    Oracle(model, x, target).check(found)
    assert "skip connection" in found.method
    assert found.hdiag.shape == found.y.shape


@pytest.mark.parametrize("loss", ["mse", "gaussian_nll", log_cosh])
@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
def test_every_loss(loss, side, activation):
    model, (x, _) = vectors(nn.BatchNorm1d(6), activation, side), data(VECTORS)
    target = normal(N, C, seed=4)
    found = split_loss(model, "norm", x, target, loss=loss)
    Oracle(model, x, target, loss=loss).check(found)


@pytest.mark.parametrize("way", ["affine", "exact"])
@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
def test_every_way(way, side):
    model, (x, target) = images(nn.BatchNorm2d(4), side=side), data(IMAGES)
    Oracle(model, x, target).check(split_loss(model, "norm", x, target, hdiag=way))


@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
def test_hutchinson_covers_the_truth(side):
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.GELU, side), data(VECTORS)
    truth, inside = Oracle(model, x, target).dense.hdiag, []
    for seed in range(10):
        found = split_loss(model, "norm", x, target, hdiag=60, seed=seed)
        error = (found.hdiag - truth).abs()
        inside.append((error <= 2 * found.hdiag_se + EXACT).double().mean())
    assert torch.stack(inside).mean() >= 0.9


@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU])
def test_remainder_is_of_second_order(activation, side):
    """The layer's output is fixed, so the point approaches it: halving each step."""
    model, (x, target) = vectors(nn.BatchNorm1d(6), activation, side), data(VECTORS)
    y = Oracle(model, x, target).y

    def remainder(h):
        return split_loss(model, "norm", x, target, y0=y[0] + h * normal(6)).remainder[0].norm()

    assert (remainder(2e-3) / remainder(1e-3)).log2().item() == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("n", [1, 2, 40])
@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
def test_batch_sizes(n, activation):
    model, (x, target) = images(nn.BatchNorm2d(4), activation), data((n, *IMAGES[1:]))
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))
    model, (x, target) = vectors(nn.LayerNorm(6), activation, nn.Tanh()), data((n, 5))
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


def test_repeated_samples():
    model, (x, target) = vectors(nn.BatchNorm1d(6), side=nn.Tanh()), data(VECTORS)
    x = x[[0, 0, 1, 1, 0, 2]]
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


def test_equal_samples_through_a_layer_that_keeps_them():
    model, (x, target) = vectors(nn.LayerNorm(6), side=nn.Tanh()), data(VECTORS)
    x = x[:1].repeat(N, 1)
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


def test_one_output():
    after = [nn.LeakyReLU(), nn.Linear(6, 1)]
    model, (x, target) = vectors(nn.BatchNorm1d(6), after=after), data(VECTORS)
    target = normal(N, 1, seed=4)
    found = split_loss(model, "norm", x, target, loss="mse")
    Oracle(model, x, target, loss="mse").check(found)


def test_gram_matrices_are_inner_products():
    for norm in (nn.BatchNorm1d(6), nn.LayerNorm(6)):
        model, (x, target) = vectors(norm), data(VECTORS)
        found, oracle = split_loss(model, "norm", x, target), Oracle(model, x, target)
        after = [getattr(found, part) for part in PARTS]
        for gram, rows in (
            (found.gram_y, after),
            (found.gram_x, [oracle.before(G) for G in after]),
        ):
            expected = torch.stack([torch.stack([(a * b).sum() for b in rows]) for a in rows])
            assert (gram - expected).abs().max() <= EXACT * expected.abs().max()


def test_variance_is_the_biased_one():
    """Which is what batch norm standardizes with; the running average is unbiased."""
    model, (x, target) = vectors(nn.BatchNorm1d(6)), data(VECTORS)
    found, h = split_loss(model, "norm", x, target), model.before(x)
    torch.testing.assert_close(found.sigma, (h.var(0, correction=0) + 1e-5).sqrt())
    assert ((found.sigma - (h.var(0) + 1e-5).sqrt()).abs() > 0.01 * found.sigma).all()


@pytest.mark.parametrize("training", [True, False])
def test_sequence_model(training):
    """(n, T, D) with LayerNorm in a pre-norm block: a skip connection goes around it."""
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True, norm_first=True)
    model = drawn(nn.Sequential(layer, nn.Flatten(), nn.Linear(24, C)))
    x, target = data((4, 4, 6))

    def rest(row, own):
        z = affine(layer.norm1, row[None])
        attended = layer.self_attn(z, z, z, need_weights=False)[0]
        h = own[None] + attended
        return model[2](model[1](h + layer._ff_block(layer.norm2(h))))[0]

    y = F.layer_norm(x, (6,))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        of_outputs = row_loss("cross_entropy")
        dense = taylor(
            lambda row, label, own: of_outputs(rest(row, own), label), y, y.mean(0), target, x
        )
    found = split_loss(model.train(training), "0.norm1", x, target)
    for part in PARTS:
        error = (getattr(found, part) - getattr(dense, part)).abs().max()
        assert error <= EXACT * dense.largest()


# Where the layer is


def chain():
    parts = [nn.Linear(5, 6)]
    for _ in range(3):
        parts += [nn.BatchNorm1d(6), nn.LeakyReLU(), nn.Linear(6, 6)]
    return drawn(nn.Sequential(*parts, nn.Linear(6, C)))


@pytest.mark.parametrize("place", [1, 4, 7])
def test_first_middle_and_last_layer(place):
    """Layers before it keep the statistics of the batch; those behind are in evaluation mode."""
    model, (x, target) = chain(), data(VECTORS)
    model[place + 1 :].eval()
    found = split_loss(model, str(place), x, target)
    upstream = F.linear(x, model[0].weight, model[0].bias)
    for layer in model[1:place]:
        if isinstance(layer, nn.BatchNorm1d):
            upstream = affine(layer, batch_norm(upstream, layer.eps))
        else:
            upstream = layer(upstream)
    parts = Model(nn.Identity(), model[place], model[place + 1 :])
    Oracle(parts, upstream, target).check(found)
    assert "running statistics" not in found.method


def test_a_layer_deep_inside_a_model():
    inner = drawn(nn.Sequential(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6))))
    model = nn.Sequential(inner, drawn(nn.Sequential(nn.LeakyReLU(), nn.Linear(6, C)), 1))
    x, target = data(VECTORS)
    parts = Model(inner[0][0], inner[0][1], model[1])
    Oracle(parts, x, target).check(split_loss(model, "0.0.1", x, target))


class Joined(nn.Module):
    """A residual block whose skip connection has a batch norm of its own."""

    def __init__(self, activation=nn.LeakyReLU):
        super().__init__()
        self.first, self.norm = nn.Linear(5, 6), nn.BatchNorm1d(6)
        self.down, self.down_norm = nn.Linear(5, 6), nn.BatchNorm1d(6)
        self.after = nn.Sequential(activation(), nn.Linear(6, C))
        drawn(self)

    def forward(self, x):
        return self.after(self.norm(self.first(x)) + self.down_norm(self.down(x)))


@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
@pytest.mark.parametrize("downstream", ["refuse", "frozen"])
def test_a_parallel_branch_keeps_the_statistics_of_the_batch(activation, downstream):
    model, (x, target) = Joined(activation), data(VECTORS)
    found = split_loss(model, "norm", x, target, downstream=downstream)
    parts = Model(model.first, model.norm, model.after)

    def side(h):
        return affine(model.down_norm, batch_norm(model.down(x), model.down_norm.eps))

    Oracle(parts, x, target, side=side).check(found)
    assert "running statistics" not in found.method


# A layer behind it that couples samples


def two_norms(second=None):
    second = nn.BatchNorm1d(5) if second is None else second
    after = [nn.LeakyReLU(), nn.Linear(6, 5), second, nn.LeakyReLU(), nn.Linear(5, C)]
    return vectors(nn.BatchNorm1d(6), after=after)


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


class Function(nn.Module):
    """A function without a module of its own."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


HIDDEN = {
    "F.batch_norm": lambda v: F.batch_norm(v, None, None, training=True),
    "batch_norm_that_takes_one_row": lambda v: batch_norm(v, 1e-5),
    "centering": lambda v: v - v.mean(0),
    "F.dropout": lambda v: F.dropout(v, 0.3),
    "F.dropout_behind_a_bias": lambda v: F.dropout(v + 1, 0.3),
    "whole_rows_dropped": lambda v: v * (torch.rand(len(v), 1) < 0.95) / 0.95,
}
# Refused whatever is drawn, not only where the draws of two rows happen to differ.
RANDOM = {"F.dropout", "F.dropout_behind_a_bias", "whole_rows_dropped"}


@pytest.mark.parametrize("way", ["auto", "exact"])
@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
@pytest.mark.parametrize("name", HIDDEN)
def test_functions_that_couple_samples_or_are_random_are_refused(name, activation, side, way):
    after = [Function(HIDDEN[name]), activation(), nn.Linear(6, C)]
    model, (x, target) = vectors(nn.BatchNorm1d(6), side=side, after=after), data(VECTORS)
    for seed in range(10 if name in RANDOM else 1):
        torch.manual_seed(seed)
        before = snapshot(model, x, target)
        with pytest.raises(BadInput, match=r"coupl|random"):
            split_loss(model, "norm", x, target, hdiag=way)
        assert snapshot(model, x, target) == before


@pytest.mark.parametrize("name", ["F.batch_norm", "centering"])
def test_coupling_on_the_way_before_a_skip_joins_is_refused(name):
    """At the point all rows are alike there, and one alone is like all."""

    class Late(Model):
        def forward(self, x):
            h = self.before(x)
            return self.after(F.leaky_relu(HIDDEN[name](self.norm(h))) + self.side(h))

    model = drawn(
        Late(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, C), nn.Sequential(nn.Tanh()))
    )
    for way in ("auto", "exact"):
        with pytest.raises(BadInput, match=r"coupl|random"):
            split_loss(model, "norm", *data(VECTORS), hdiag=way)


@pytest.mark.parametrize("name", ["F.batch_norm", "centering"])
def test_functions_before_the_layer_may_couple_samples(name):
    """They have done so when the features arrive; the terms start there."""
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.LeakyReLU), data(VECTORS)
    model.before = nn.Sequential(model.before, Function(HIDDEN[name]))
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


def test_dropout_module_is_refused_by_name():
    after = [nn.LeakyReLU(), nn.Dropout(0.2), nn.Linear(6, C)]
    model, (x, target) = vectors(nn.BatchNorm1d(6), after=after), data(VECTORS)
    with pytest.raises(BadInput, match=r"'after\.1' \(Dropout, p = 0\.2\).*evaluation mode"):
        split_loss(model, "norm", x, target)
    model.after[1].eval()
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


# Ways around the layer


def test_a_skip_that_few_samples_differ_in_is_seen():
    """Here the first two have the same condition, the others another."""

    class Conditional(Model):
        def forward(self, x):
            return self.after(self.norm(self.before(x)) + self.side(x[:, :1]))

    model = drawn(
        Conditional(
            nn.Linear(5, 6),
            nn.BatchNorm1d(6),
            nn.Sequential(nn.LeakyReLU(), nn.Linear(6, C)),
            nn.Linear(1, 6),
        )
    )
    x, target = data(VECTORS)
    x[:, 0] = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 2.0])
    found = split_loss(model, "norm", x, target)
    parts = Model(model.before, model.norm, model.after)
    Oracle(parts, x, target, side=lambda h: model.side(x[:, :1])).check(found)
    assert "skip connection" in found.method


@pytest.mark.parametrize("scale", [1.0, 1e-2])
def test_a_skip_is_seen_in_float32(scale):
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.LeakyReLU, nn.Tanh()), data(VECTORS)
    model.after[-1].weight.data *= scale
    found = split_loss(model, "norm", x, target, dtype=torch.float32)
    assert "skip connection" in found.method
    Oracle(model, x, target).check(found, allowed=1e-5)


def test_a_skip_is_seen_where_outputs_are_small():
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.LeakyReLU, nn.Tanh()), data(VECTORS)
    for parameter in model.after[-1].parameters():
        parameter.data *= 1e-11
    found = split_loss(model, "norm", x, target)
    assert "skip connection" in found.method
    Oracle(model, x, target).check(found)


def test_a_head_that_is_curved_for_some_samples_only_is_curved():
    """GELU is linear to the last bit far out, which is where the first sample's skip puts it."""
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.GELU, nn.Identity()), data(VECTORS)
    model.after = drawn(nn.Sequential(nn.GELU(), nn.Linear(6, C)), 1)
    model.before.weight.data.abs_()
    x[0] = 50.0
    found = split_loss(model, "norm", x, target)
    assert found.method.startswith("exact")
    Oracle(model, x, target).check(found)


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


# The expansion point


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


# Modes of the analysed layer


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(6), build_norm("bn", (6,))], ids=["torch", "own"])
def test_analysed_batch_norm_in_evaluation_mode_standardizes_with_the_batch(norm):
    model, (x, target) = vectors(norm), data(VECTORS)
    model.eval()
    found = split_loss(model, "norm", x, target)
    assert "norm is in evaluation mode, but standardized with the batch here" in found.method
    Oracle(model, x, target).check(found)
    assert not norm.training


def test_other_layers_keep_their_mode():
    """Instance norm with running statistics, in evaluation mode, standardizes with these."""
    model = images(nn.InstanceNorm2d(4, track_running_stats=True), nn.LeakyReLU).eval()
    x, target = data(IMAGES)
    found, norm = split_loss(model, "norm", x, target), model.norm
    mean, var = (v.view(-1, 1, 1) for v in (norm.running_mean, norm.running_var))
    expected = (model.before(x) - mean) / (var + norm.eps).sqrt()
    torch.testing.assert_close(found.y, expected, rtol=1e-12, atol=1e-12)


# Models with habits


class Reader(nn.Module):
    """Reads the batch size off its input, and flattens or pools by it."""

    def __init__(self, activation, pools):
        super().__init__()
        self.before = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.activation, self.pools = activation(), pools
        self.out = nn.Linear(4 if pools else 64, C)
        drawn(self)

    def forward(self, inp):
        v = self.activation(self.norm(self.before(inp)))
        if self.pools:
            return self.out(v.view(inp.shape[0], 4, -1).mean(2))
        return self.out(v.view(inp.shape[0], -1))


@pytest.mark.parametrize("pools", [False, True])
@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
def test_models_that_read_the_batch_size_off_their_input(activation, pools):
    model, (x, target) = Reader(activation, pools), data(IMAGES)
    pool = [nn.AdaptiveAvgPool2d(1)] if pools else []
    after = nn.Sequential(model.activation, *pool, nn.Flatten(), model.out)
    parts = Model(model.before, model.norm, after)
    Oracle(parts, x, target).check(split_loss(model, "norm", x, target))


@pytest.mark.parametrize("name", ["BatchNorm1d_plain", "BatchNorm1d", "none", "LayerNorm_plain"])
@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
@pytest.mark.parametrize("way", ["auto", "affine", "exact"])
def test_in_place_relu_behind_the_layer(name, side, way):
    def model_with(inplace):
        after = nn.Sequential(nn.ReLU(inplace=inplace), nn.Linear(6, C))
        return vectors(LAYERS[name][1](), side=side, after=after)

    x, target = data(VECTORS)
    y0 = 0.4 * normal(6, seed=9)
    found = split_loss(model_with(True), "norm", x, target, y0=y0, hdiag=way)
    Oracle(model_with(False), x, target, y0=y0).check(found)


class WritesThenJoins(Model):
    """In-place right behind the layer, before a skip connection and a later norm join."""

    inplace = True

    def forward(self, x):
        h = self.before(x)
        z = self.norm(h)
        z = F.leaky_relu_(z) if self.inplace else F.leaky_relu(z)
        return self.after(z + self.side(h))


@pytest.mark.parametrize("way", ["auto", "affine", "exact"])
@pytest.mark.parametrize("name", ["BatchNorm1d_plain", "none", "LayerNorm_plain"])
def test_in_place_function_between_the_layer_and_a_skip(name, way):
    after = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, C))
    model = drawn(WritesThenJoins(nn.Linear(5, 6), LAYERS[name][1](), after, nn.Tanh()))
    (x, target), y0 = data(VECTORS), 0.4 * normal(6, seed=9)
    options = {"y0": y0, "hdiag": way, "downstream": "frozen"}
    found = split_loss(model, "norm", x, target, **options)
    model.inplace = False
    expected = split_loss(model, "norm", x, target, **options)
    for part in PARTS:
        assert torch.equal(getattr(found, part), getattr(expected, part))


@pytest.mark.parametrize("side", [None, nn.Tanh()], ids=["straight", "skip"])
def test_models_that_write_into_their_input(side):
    """The caller's batch stays as it is, and every pass gets the same."""
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.LeakyReLU, side), data(VECTORS)
    linear = model.before
    model.before = nn.Sequential(Function(lambda v: v.mul_(2).sub_(0.5)), linear)
    given = x.clone()
    found = split_loss(model, "norm", given, target)
    assert torch.equal(given, x)
    model.before = nn.Sequential(Function(lambda v: 2 * v - 0.5), linear)
    Oracle(model, x, target).check(found)


def test_models_that_look_at_the_layers_attributes():
    class Looks(Model):
        def forward(self, x):
            h = self.before(x).to(self.norm.weight.dtype)
            assert self.after[0].running_mean.dtype == h.dtype
            return self.after(self.norm(h))

    after = nn.Sequential(nn.BatchNorm1d(6).eval(), nn.Linear(6, C))
    model = drawn(Looks(nn.Linear(5, 6), nn.BatchNorm1d(6), after))
    x, target = data(VECTORS)
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


def test_integer_inputs():
    table = nn.Embedding(7, 5)
    model, target = vectors(nn.BatchNorm1d(6), nn.LeakyReLU), torch.arange(N) % C
    model.before = drawn(nn.Sequential(table, model.before), 3)
    x = torch.tensor([0, 3, 2, 6, 1, 3])
    Oracle(model, x, target).check(split_loss(model, "norm", x, target))


class ActivatedBatchNorm(nn.BatchNorm1d):
    """Does more than its base class."""

    def forward(self, x):
        return F.leaky_relu(super().forward(x))


class ChannelsLast(nn.LayerNorm):
    """Normalizes the channels of images: by element of another axis than the last."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


@pytest.mark.parametrize(
    "model",
    [
        vectors(ActivatedBatchNorm(6), nn.LeakyReLU),
        images(ChannelsLast(4), nn.LeakyReLU),
    ],
    ids=["activated", "channels_last"],
)
def test_layers_that_do_more_than_their_kind_are_not_taken_for_it(model):
    """Refused, or split such that the terms are of the model's own loss."""
    x, target = data(VECTORS if isinstance(model.norm, nn.BatchNorm1d) else IMAGES)
    try:
        found = split_loss(model, "norm", x, target)
    except BadInput:
        return
    h = model.before(x).detach().requires_grad_()
    loss = F.cross_entropy(model.after(model.norm(h)), target, reduction="sum")
    (expected,) = torch.autograd.grad(loss, h)
    torch.testing.assert_close(found.carry(found.total), expected, rtol=1e-10, atol=1e-12)


def test_total_is_the_models_own_gradient():
    """Before the layer, of the loss that a training step would see."""
    model, (x, target) = images(nn.BatchNorm2d(4), nn.GELU, nn.Tanh()), data(IMAGES)
    h = model.before(x).detach().requires_grad_()
    loss = F.cross_entropy(
        model.after(model.norm(h) + model.side(h).detach()), target, reduction="sum"
    )
    (expected,) = torch.autograd.grad(loss, h)
    found = split_loss(model, "norm", x, target)
    torch.testing.assert_close(found.carry(found.total), expected, rtol=1e-10, atol=1e-12)


# Precision


@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
def test_float32_model_gives_what_its_float64_copy_gives(activation):
    model, (x, target) = vectors(nn.BatchNorm1d(6), activation), data(VECTORS)
    narrow, x = model.float(), x.float()
    found = split_loss(narrow, "norm", x, target)
    assert found.total.dtype == torch.float64
    assert narrow.norm.weight.dtype == torch.float32
    expected = split_loss(narrow.double(), "norm", x.double(), target)
    for part in PARTS:
        assert torch.equal(getattr(found, part), getattr(expected, part))


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d", "LayerNorm", "GroupNorm"])
@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
def test_float32_on_request(name, activation):
    model, x, target = built(name, activation)
    found = split_loss(model, "norm", x, target, dtype=torch.float32)
    assert found.total.dtype == found.y.dtype == torch.float32
    assert found.gram_x.dtype == torch.float64
    Oracle(model, x, target).check(found, allowed=1e-4)


# Refusals


class Twice(Model):
    def forward(self, x):
        return self.after(self.norm(self.norm(self.before(x))))


class SharedBefore(Model):
    """A batch norm, still training, that is called twice before the analysed layer."""

    def forward(self, x):
        return self.after(self.norm(self.side(self.before(self.side(x)))))


def shared_before():
    plain = vectors(nn.BatchNorm1d(5), features=5)
    return drawn(SharedBefore(plain.before, plain.norm, plain.after, nn.BatchNorm1d(5)))


class Never(Model):
    def forward(self, x):
        return self.after(self.before(x))


def of_class(kind):
    plain = vectors(nn.BatchNorm1d(6))
    return kind(plain.before, plain.norm, plain.after)


@pytest.mark.parametrize(
    ("model", "layer", "options", "found"),
    [
        (of_class(Twice), "norm", {}, "layer 'norm' is called more than once"),
        (shared_before(), "norm", {}, "layer 'side' is called more than once"),
        (of_class(Never), "norm", {}, "does not call layer 'norm'"),
        (of_class(Model), "nrom", {}, "unknown layer 'nrom'; allowed: norm"),
        (of_class(Model), "before", {}, "layer 'before' is a Linear; allowed: BatchNorm"),
        (chain()[:5], "", {}, "unknown layer ''; allowed: "),
        (nn.Sequential(chain(), nn.Linear(C, C)).double(), "0", {}, "layer '0' is a Sequential"),
        (of_class(Model), "norm", {"downstream": "ignore"}, "unknown downstream 'ignore'"),
        (of_class(Model), "norm", {"hdiag": "dense"}, "hdiag 'dense' is unknown"),
        (of_class(Model), "norm", {"loss": "hinge"}, "unknown loss 'hinge'"),
        (of_class(Model), "norm", {"dtype": torch.float16}, "float16 is not allowed"),
        (of_class(Model), "norm", {"target": torch.arange(3)}, "one target a sample, 6; found 3"),
        (of_class(Model), "norm", {"x": normal(1, 5)}, "'norm' needs at least 2 values a channel"),
        (vectors(nn.BatchNorm1d(6), after=[Function(lambda z: (z, z))]), "norm", {}, "output"),
        (vectors(nn.BatchNorm1d(6), after=[Function(lambda z: z[:, 0])]), "norm", {}, "outputs"),
        (two_norms(), "norm", {}, "couples the samples"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals_say_what_is_wrong_and_leave_the_model_alone(model, layer, options, found):
    x, target = data(VECTORS)
    model.double()
    before = snapshot(model, x, target)
    with pytest.raises(BadInput, match=found):
        split_loss(model, layer, **{"x": x, "target": target, **options})
    assert snapshot(model, x, target) == before


# Nothing is left behind


@pytest.mark.parametrize("own", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
@pytest.mark.parametrize("way", ["auto", "exact", "affine", 3])
def test_model_is_bitwise_as_it_was(own, activation, way):
    """With gradients, frozen parameters, hooks, batch norms in both modes on all sides."""
    after = [activation(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, C)]
    model = vectors(nn.BatchNorm1d(6), side=nn.BatchNorm1d(6), after=after)
    model.before = drawn(nn.Sequential(nn.BatchNorm1d(5), model.before), 4)
    model.to(own)
    x, target = data(VECTORS)
    x = x.to(own).requires_grad_()
    model.after[1].weight.grad = torch.full_like(model.after[1].weight, 2.0)
    model.norm.bias.requires_grad_(False)
    model.norm.register_forward_hook(lambda *_: None)
    model.side.register_full_backward_hook(lambda *_: None)
    x.grad = torch.ones_like(x)
    before = snapshot(model, x, target)
    found = split_loss(model, "norm", x, target, hdiag=way, downstream="frozen")
    found.gram_x  # noqa: B018
    assert snapshot(model, x, target) == before


def test_a_pending_backward_pass_is_not_disturbed():
    model, (x, target) = two_norms(), data(VECTORS)
    loss = model(x).sum()
    split_loss(model, "norm", x, target, downstream="frozen")
    loss.backward()


def test_result_does_not_depend_on_the_generators_state():
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.GELU), data(VECTORS)
    torch.manual_seed(1)
    first = split_loss(model, "norm", x, target, hdiag=4)
    torch.manual_seed(2)
    second = split_loss(model, "norm", x, target, hdiag=4)
    for part in PARTS:
        assert torch.equal(getattr(first, part), getattr(second, part))


def test_split_of_a_head_is_that_of_the_model():
    model, (x, target) = vectors(nn.BatchNorm1d(6), nn.GELU), data(VECTORS)
    whole = split_loss(model, "norm", x, target)
    head = split_head(
        lambda v: model.after(affine(model.norm, v)), whole.y, target, sigma=whole.sigma
    )
    for part in PARTS:
        torch.testing.assert_close(
            getattr(whole, part), getattr(head, part), rtol=1e-12, atol=1e-14
        )
    torch.testing.assert_close(whole.gram_x, head.gram_x, rtol=1e-10, atol=1e-14)
