"""`split_loss` against full Hessians on whole models: layers, losses, ways, sizes, precisions."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import split_head, split_loss
from tests.helpers.cases import C, log_cosh, normal
from tests.helpers.dense import EXACT, PARTS, row_loss, taylor
from tests.helpers.model_oracle import Oracle, affine
from tests.helpers.models import IMAGES, LAYERS, VECTORS, N, built, data, drawn, images, vectors


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


@pytest.mark.parametrize("way", ["auto", "exact"])
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
