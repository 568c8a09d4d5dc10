"""`split_head` against full Hessians and torch's own batch norm, and every trap of it."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bnblind import BadInput, split_head, standardize
from tests.cases import CASES, HEADS, IMAGE, VECTOR, C, Case, HeadKind, normal, p_of
from tests.dense import PARTS, before_batch_norm, taylor_of_head
from tests.snapshot import snapshot

EXACT = 1e-12
"""Largest error allowed, relative to the largest term."""


def split(case, **options):
    built = case.build()
    options = {"sigma": built.sigma, "loss": case.loss_function, **options}
    return split_head(built.head, built.y, built.target, built.y0, **options)


@cache
def split_of(case):
    return split(case)


@cache
def dense_of(case):
    built = case.build()
    # torch.func does not let an in-place function write into what it maps over.
    layers = [nn.ReLU() if isinstance(m, nn.ReLU) else m for m in built.head]
    head = nn.Sequential(*layers)
    return taylor_of_head(head, case.loss_function, built.y, built.y0, built.target)


def gap(found, dense, allowed=EXACT):
    """Errors of the terms that exceed what is allowed."""
    unit = dense.largest()
    errors = {p: (getattr(found, p) - getattr(dense, p)).abs().max().item() / unit for p in PARTS}
    return {part: error for part, error in errors.items() if not error <= allowed}


# Exactness


@pytest.mark.parametrize("case", CASES, ids=str)
def test_terms_are_those_of_the_dense_hessian(case):
    found, dense = split_of(case), dense_of(case)
    assert not gap(found, dense)
    unit = max(dense.hdiag.abs().max().item(), torch.finfo(torch.float64).tiny)
    assert (found.hdiag - dense.hdiag).abs().max() <= EXACT * unit


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layers_backward_is_that_of_torchs_batch_norm(case):
    found, built = split_of(case), case.build()
    for part in PARTS:
        G = getattr(found, part)
        expected = before_batch_norm(built.x, G, case.eps)
        unit = (G.abs().max() / built.sigma.min()).item()
        assert (found.carry(G) - expected).abs().max() <= EXACT * unit


@pytest.mark.parametrize("case", CASES, ids=str)
def test_way_is_chosen_by_whether_the_head_is_piecewise_linear(case):
    found = split_of(case)
    expected = "fused" if case.kind.piecewise else "exact"
    if case.head == "log_softmax" and case.loss not in ("cross_entropy", "soft_cross_entropy"):
        expected = "exact"
    assert found.method.startswith(expected)
    assert found.kinks == 0
    assert not found.undefined


@pytest.mark.parametrize("case", [c for c in CASES if c.saturated], ids=str)
def test_saturated_heads_are_saturated(case):
    built = case.build()
    with torch.no_grad():
        p = p_of(built.head(torch.cat([built.y, built.y0[None]])), built.target[:1].expand(9))
    assert 1 - p.max() < 1e-8


@pytest.mark.parametrize(
    ("head", "loss"),
    [
        (name, loss)
        for name, kind in HEADS.items()
        for loss in ("cross_entropy", "log_cosh")
        # A log-softmax inside bends only what cross-entropy does not see.
        if kind.piecewise and (name != "log_softmax" or loss == "cross_entropy")
    ],
)
def test_the_ways_agree_on_piecewise_linear_heads(head, loss):
    case = Case(head, loss)
    dense = dense_of(case)
    for way, said in (("affine", "taken as piecewise linear"), ("exact", "exact")):
        found = split(case, hdiag=way)
        assert said in found.method
        assert not gap(found, dense)


@pytest.mark.parametrize("head", [name for name, kind in HEADS.items() if not kind.piecewise])
def test_taking_a_curved_head_for_piecewise_linear_is_wrong(head):
    """So that the agreement of "auto" with the oracle means something."""
    case = Case(head)
    assert gap(split(case, hdiag="affine"), dense_of(case))


def test_terms_add_to_the_plain_gradient():
    case = Case("gelu")
    built, found = case.build(), split_of(case)
    y = built.y.clone().requires_grad_()
    loss = F.cross_entropy(built.head(y), built.target, reduction="sum")
    (plain,) = torch.autograd.grad(loss, y)
    torch.testing.assert_close(found.total, plain, rtol=1e-12, atol=1e-14)
    four = found.first + found.diag + found.offdiag + found.remainder
    torch.testing.assert_close(four, plain, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "log_cosh"])
@pytest.mark.parametrize("head", ["gelu", "tanh", "silu", "conv_gelu"])
def test_remainder_is_of_second_order(head, loss):
    """The remainder is found by subtraction: an error of another term would end up in it, and
    would not vanish with the square of the step.
    """
    case = Case(head, loss)
    built = case.build()
    direction = normal(*built.y.shape, seed=6)

    def remainder(h):
        y = built.y0 + h * direction
        return split_head(
            built.head, y, built.target, built.y0, loss=case.loss_function
        ).remainder.flatten(1)

    whole, half = remainder(2e-3).norm(dim=1), remainder(1e-3).norm(dim=1)
    assert (whole / half).log2().median().item() == pytest.approx(2, abs=0.02)


def test_remainder_of_piecewise_linear_head_and_quadratic_loss_is_zero():
    built = Case("linear", "mse").build()
    found = split_head(built.head, built.y, normal(8, C), loss="mse")
    assert found.remainder.abs().max() < 1e-14
    assert found.offdiag.abs().max() > 1e-3


# Hutchinson


@pytest.mark.parametrize("case", [Case("gelu"), Case("relu"), Case("conv_gelu")], ids=str)
def test_hutchinson_covers_the_truth(case):
    """Inside two standard errors in at least nine of ten entries, over repeats; and the errors
    are not overstated: half of one covers a normal estimate in 38 % of the cases.
    """
    dense, inside, within_half = dense_of(case), [], []
    rounding = EXACT * dense.hdiag.abs().max()
    for seed in range(10):
        found = split(case, hdiag=60, seed=seed)
        error = (found.hdiag - dense.hdiag).abs()
        inside.append((error <= 2 * found.hdiag_se + rounding).double().mean())
        within_half.append((error <= 0.5 * found.hdiag_se).double().mean())
    assert torch.stack(inside).mean() >= 0.9
    assert torch.stack(within_half).mean() <= 0.5


def test_hutchinson_leaves_all_but_the_diagonal_exact():
    case = Case("gelu")
    found, dense = split(case, hdiag=20), dense_of(case)
    assert found.method == "Hutchinson: 20 probes for the diagonal"
    for part in ("first", "remainder", "total"):
        error = (getattr(found, part) - getattr(dense, part)).abs().max()
        assert error <= EXACT * dense.largest()
    error = (found.diag + found.offdiag - dense.diag - dense.offdiag).abs().max()
    assert error <= EXACT * dense.largest()
    step = found.y - found.y0
    torch.testing.assert_close(found.diag, step * found.hdiag)


def test_hutchinsons_error_falls_with_the_root_of_the_number_of_probes():
    few, many = (split(Case("gelu"), hdiag=probes).hdiag_se for probes in (50, 800))
    assert (few.mean() / many.mean()).item() == pytest.approx(4, rel=0.15)


def test_hutchinsons_probes_are_the_seeds():
    first, again, other = (split(Case("gelu"), hdiag=5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.hdiag, again.hdiag)
    assert not torch.equal(first.hdiag, other.hdiag)


@pytest.mark.parametrize("way", ["auto", "affine", "exact"])
def test_no_standard_error_where_nothing_is_estimated(way):
    assert split(Case("relu"), hdiag=way).hdiag_se is None


# What comes back


@pytest.mark.parametrize("labels", ["pure", "mixed"])
@pytest.mark.parametrize("head", ["relu", "gelu", "conv_max_pool", "conv_gelu"])
@pytest.mark.parametrize("way", ["auto", "exact", 3])
def test_shapes(head, labels, way):
    case = Case(head, labels=labels)
    found, shape = split(case, hdiag=way), case.kind.shape
    for field in ("y", *PARTS):
        assert getattr(found, field).shape == (case.n, *shape)
    assert found.y0.shape == shape
    assert found.sigma.shape == shape[:1]
    differs = labels == "mixed" and not found.method.startswith("fused")
    assert found.hdiag.shape == ((case.n, *shape) if differs else shape)
    assert (found.hdiag_se is None) == (way != 3)
    if way == 3:
        assert found.hdiag_se.shape == found.hdiag.shape
    assert found.gram_y.shape == found.gram_x.shape == (5, 5)
    assert not any(getattr(found, field).requires_grad for field in ("y", "hdiag", *PARTS))


@pytest.mark.parametrize(
    ("head", "loss"), [("gelu", "cross_entropy"), ("relu", "log_cosh"), ("tanh", "mse")]
)
def test_hessians_diagonal_is_each_samples_own(head, loss):
    """Of curved heads, and of losses whose curvature depends on the target."""
    found, dense = split_of(Case(head, loss)), dense_of(Case(head, loss))
    assert found.hdiag.shape == found.y.shape
    assert (dense.hdiag[0] - dense.hdiag[1]).abs().max() > 0.01 * dense.hdiag.abs().max()
    torch.testing.assert_close(found.hdiag, dense.hdiag, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", [Case("relu"), Case("conv_gelu")], ids=str)
def test_gram_matrices_are_inner_products(case):
    found, built = split_of(case), case.build()
    after = [getattr(found, part) for part in PARTS]
    before = [before_batch_norm(built.x, G, case.eps) for G in after]
    for gram, tensors in ((found.gram_y, after), (found.gram_x, before)):
        expected = torch.tensor([[(a * b).sum() for b in tensors] for a in tensors])
        assert gram.dtype == torch.float64
        unit = expected.diagonal().max().item()
        torch.testing.assert_close(gram, expected.double(), rtol=0, atol=1e-6 * unit)
        exact = torch.stack([torch.stack([(a * b).sum() for b in tensors]) for a in tensors])
        torch.testing.assert_close(gram, exact, rtol=0, atol=1e-12 * unit)


def test_without_sigma_nothing_is_known_before_the_layer():
    found = split(Case("relu"), sigma=None)
    assert found.sigma is None
    assert found.gram_x is None
    assert found.carry is None


def test_gram_matrices_survive_what_the_caller_does_to_the_features():
    """They are computed on first access; the features may have been overwritten by then."""
    built = Case("relu").build()
    y, sigma = built.y.clone(), built.sigma.clone()
    found = split_head(built.head, y, built.target, sigma=sigma)
    expected = split_head(built.head, built.y, built.target, sigma=built.sigma).gram_x
    y.relu_()
    sigma.zero_()
    torch.testing.assert_close(found.gram_x, expected, rtol=0, atol=0)


def test_y0_is_zero_unless_said_otherwise():
    built = Case("relu").build()
    found = split_head(built.head, built.y, built.target)
    assert torch.equal(found.y0, torch.zeros(9, dtype=torch.float64))
    other = split_head(built.head, built.y, built.target, built.y0 + 1)
    assert torch.equal(other.y0, built.y0 + 1)


@pytest.mark.parametrize("head", ["relu", "gelu", "conv_max_pool"])
def test_float32_on_request(head):
    case = Case(head)
    found, dense = split(case, dtype=torch.float32), dense_of(case)
    assert {getattr(found, f).dtype for f in ("y", "y0", "hdiag", *PARTS)} == {torch.float32}
    assert found.gram_y.dtype == torch.float64
    assert found.method.split(":")[0] == ("fused" if case.kind.piecewise else "exact")
    assert not gap(found, dense, allowed=1e-5)


def test_float32_head_gives_what_its_float64_copy_gives():
    built = Case("gelu").build()
    head = HEADS["gelu"].build().float()
    wide = HEADS["gelu"].build().float().double()
    narrow_y = built.y.float()
    found = split_head(head, narrow_y, built.target)
    expected = split_head(wide, narrow_y.double(), built.target)
    for part in PARTS:
        assert torch.equal(getattr(found, part), getattr(expected, part))
    assert next(head.parameters()).dtype == torch.float32


@pytest.mark.parametrize("head", ["relu", "gelu"])
@pytest.mark.parametrize("integer", [torch.int32, torch.int64])
def test_targets_may_be_any_integers(head, integer):
    built = Case(head).build()
    found = split_head(built.head, built.y, built.target.to(integer))
    expected = split_head(built.head, built.y, built.target)
    assert torch.equal(found.total, expected.total)


def test_repeated_samples_have_the_same_rows():
    built = Case("gelu").build()
    twice = [0, 0, 1, 0]
    found = split_head(built.head, built.y[twice], built.target[twice])
    for part in PARTS:
        rows = getattr(found, part)
        torch.testing.assert_close(rows[0], rows[1], rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(rows[0], rows[3], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("way", ["auto", "exact", "affine", 3])
def test_one_sample_is_enough(way):
    built = Case("relu").build()
    found = split_head(built.head, built.y[:1], built.target[:1], hdiag=way)
    both = split_head(built.head, built.y, built.target, hdiag="exact")
    torch.testing.assert_close(found.total, both.total[:1], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found.first, both.first[:1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_one_output_is_enough(activation):
    """A logistic regression by a callable; the cross-entropy of one class is 0."""

    def logistic(z, target):
        return F.softplus(z[:, 0]) - target * z[:, 0]

    layers = HeadKind(lambda: [nn.Linear(9, 5), activation(), nn.Linear(5, 1)], True).build()
    y, target = normal(6, 9), (torch.arange(6) % 2).double()
    found = split_head(layers, y, target, loss=logistic)
    dense = taylor_of_head(layers, logistic, y, torch.zeros(9, dtype=torch.float64), target)
    assert not gap(found, dense)
    nothing = split_head(layers, y, torch.zeros(6, dtype=torch.int64))
    assert all(not getattr(nothing, part).any() for part in PARTS)
    assert nothing.method.startswith("fused")


@pytest.mark.parametrize("way", ["auto", "affine", "exact", 3])
def test_a_head_without_a_slope_gives_zeros(way):
    found = split_head(
        lambda v: torch.ones(len(v), C, dtype=v.dtype), normal(4, 3), torch.arange(4), hdiag=way
    )
    assert all(not getattr(found, part).any() for part in PARTS)


@pytest.mark.parametrize("way", ["auto", "affine", "exact"])
def test_functions_that_write_into_their_input_reach_nobody_elses_tensor(way):
    """In-place ReLU right behind the layer, without an affine phase in between."""
    W, y, target = normal(9, C), normal(6, 9, seed=1), torch.arange(6) % C
    y0 = 0.3 * normal(9, seed=2)
    before = [y.clone(), y0.clone()]
    found = split_head(lambda v: F.relu_(v) @ W, y, target, y0, hdiag=way)
    assert torch.equal(y, before[0])
    assert torch.equal(y0, before[1])
    dense = taylor_of_head(lambda v: F.relu(v) @ W, "cross_entropy", y, y0, target)
    assert not gap(found, dense)


def test_sequence_models():
    """Self-attention over (n, T, D), pre-norm, with its functions' double backward."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True, norm_first=True)
    head = nn.Sequential(layer, nn.Flatten(), nn.Linear(24, C)).double()
    y, target = normal(3, 4, 6), torch.arange(3)
    y0 = y.mean(0)
    found = split_head(head, y, target, y0)
    assert found.method.startswith("exact")
    point = y0[None].clone()
    with sdpa_kernel(SDPBackend.MATH):
        H = hessian(lambda v: F.cross_entropy(head(v), target[1:2]), point)
    H = H.reshape(24, 24)
    step = (y[1] - y0).flatten()
    unit = found.total.abs().max()
    assert (found.diag[1].flatten() - H.diagonal() * step).abs().max() <= EXACT * unit
    second = (found.diag + found.offdiag)[1].flatten()
    assert (second - H @ step).abs().max() <= EXACT * unit


def test_functions_without_forward_derivatives():
    """The guard then differentiates backward twice."""

    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            s = torch.sigmoid(x)
            return grad * (s + x * s * (1 - s))

    W, y, target = normal(9, C), normal(6, 9, seed=1), torch.arange(6) % C
    found = split_head(lambda v: Swish.apply(v) @ W, y, target)
    assert found.method.startswith("exact")
    zero = torch.zeros(9, dtype=torch.float64)
    assert not gap(found, taylor_of_head(lambda v: F.silu(v) @ W, "cross_entropy", y, zero, target))


def test_functions_without_second_derivatives():
    """Torch has none for this one, though it is piecewise linear."""
    weights, y, target = normal(9, C), normal(6, 9, seed=1), torch.arange(6) % C
    y0 = 0.3 * normal(9, seed=2)
    dense = taylor_of_head(
        lambda v: (v / 6 + 0.5).clamp(0, 1) @ weights, "cross_entropy", y, y0, target
    )
    for way in ("affine", "auto"):
        found = split_head(lambda v: F.hardsigmoid(v) @ weights, y, target, y0, hdiag=way)
        assert found.method.startswith("fused")
        # torch's own derivative of hardsigmoid holds 1/6 in single precision.
        assert not gap(found, dense, 1e-7)
    with pytest.raises(BadInput, match="hardsigmoid"):
        split_head(lambda v: F.hardsigmoid(v) @ weights, y, target, y0, hdiag="exact")


# Kinks


W = normal(9, 7, seed=11)
OUT = normal(7, C, seed=12)


def conv_pool(bias):
    kernel = normal(4, 3, 3, 3, seed=13)
    return lambda v: F.max_pool2d(F.conv2d(v, kernel, bias, padding=1), 2).mean((2, 3))


KINKED = {
    "relu": (lambda v: F.relu(v) @ normal(9, C), VECTOR),
    "relu_inplace": (lambda v: F.relu_(v) @ normal(9, C), VECTOR),
    "relu_method": (lambda v: v.relu() @ normal(9, C), VECTOR),
    "relu_module": (nn.Sequential(nn.ReLU(), nn.Linear(9, C)), VECTOR),
    "relu_by_keyword": (lambda v: F.relu(input=v) @ normal(9, C), VECTOR),
    "leaky_relu": (lambda v: F.leaky_relu(v @ W) @ OUT, VECTOR),
    "prelu": (nn.Sequential(nn.PReLU(), nn.Linear(9, C)), VECTOR),
    "abs": (lambda v: (v @ W).abs() @ OUT, VECTOR),
    "clamp": (lambda v: v.clamp(min=0) @ normal(9, C), VECTOR),
    "hardtanh": (lambda v: F.hardtanh(v, 0, 1) @ normal(9, C), VECTOR),
    "maximum": (lambda v: torch.maximum(v, 2 * v) @ normal(9, C), VECTOR),
    "largest_of_a_row": (lambda v: v.amax(1, keepdim=True) * normal(1, C), VECTOR),
    "max_with_indices": (lambda v: v.max(1, keepdim=True)[0] * normal(1, C), VECTOR),
    "elu": (lambda v: F.elu(v) @ normal(9, C), VECTOR),
    "max_pool": (lambda v: F.max_pool2d(v, 2).flatten(1) @ normal(12, C), IMAGE),
    "max_pool_behind_conv": (conv_pool(normal(4)), IMAGE),
    "adaptive_max_pool": (lambda v: F.adaptive_max_pool2d(v, 1).flatten(1) @ normal(3, C), IMAGE),
}


@pytest.mark.parametrize("way", ["auto", "exact"])
@pytest.mark.parametrize("name", KINKED)
def test_a_unit_on_a_kink_makes_the_point_undefined(name, way):
    head, shape = KINKED[name]
    y, target = normal(5, *shape), torch.arange(5) % C
    found = split_head(head, y, target, hdiag=way)
    assert found.kinks > 0
    assert found.undefined
    assert f"undefined: {found.kinks} kinks" in repr(found)
    moved = split_head(head, y, target, 0.1 * normal(*shape, seed=9), hdiag=way)
    assert moved.kinks == 0
    assert "undefined" not in repr(moved)


def test_kinks_are_counted_unit_by_unit():
    y0 = torch.linspace(-1, 1, 9, dtype=torch.float64)
    y0[[0, 5]] = 0
    y0[4] = 0.5
    y0[6] = 1e-14  # on the kink, but for rounding
    y0[7] = 1e-9  # not on it
    found = split_head(lambda v: F.relu(v) @ normal(9, C), normal(5, 9), torch.arange(5) % C, y0)
    assert found.kinks == 3


def test_ties_are_found_in_float32():
    """Where the step to either side is smaller than the rounding of the tied values."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, C)]
    head, y, target = nn.Sequential(*layers), normal(5, *IMAGE), torch.arange(5) % C
    head[0].bias.data += 3
    assert split_head(head, y, target, dtype=torch.float32).kinks == 16
    moved = split_head(head, y, target, y.mean(0), dtype=torch.float32)
    assert moved.kinks == 0


def dead_units(v):
    """Exactly 0 whatever the features are."""
    return F.relu(torch.cat([v @ W, torch.zeros(len(v), 2, dtype=v.dtype)], 1))[:, :7] @ OUT


def equal_inputs(v):
    """Every window of the pool holds one value twice, and both have the same derivative."""
    return F.max_pool1d((v @ W).repeat_interleave(2, 1)[:, None], 2)[:, 0] @ OUT


@pytest.mark.parametrize("head", [dead_units, equal_inputs])
def test_units_that_do_not_move_and_ties_of_equals_are_benign(head):
    found = split_head(head, normal(5, 9), torch.arange(5) % C, normal(9, seed=5))
    assert found.kinks == 0


def test_hardly_bent_is_no_kink():
    """A smooth bend close to the point, and large features: no second difference of a kink."""
    y0 = 1e3 * normal(9, seed=5)
    found = split_head(lambda v: F.relu(v @ W) @ OUT, normal(5, 9), torch.arange(5) % C, y0)
    assert found.kinks == 0


def test_kinks_are_not_known_where_nobody_looked():
    found = split_head(KINKED["relu"][0], normal(5, 9), torch.arange(5) % C, hdiag="affine")
    assert found.kinks is None
    assert not found.undefined


# Heads whose rows are not independent, or random


def functional_batch_norm(v):
    return torch.batch_norm(v, None, None, None, None, True, 0.1, 1e-5, False)


COUPLED = {
    "train_mode_batch_norm": nn.Sequential(nn.Linear(9, 7), nn.BatchNorm1d(7), nn.Linear(7, C)),
    "without_running_statistics": nn.Sequential(
        nn.BatchNorm1d(9, track_running_stats=False), nn.Linear(9, C)
    ).eval(),
    "dropout": nn.Sequential(nn.Dropout(0.1), nn.Linear(9, C)),
    "centering": lambda v: (v - v.mean(0)) @ normal(9, C),
    "functional_batch_norm": lambda v: functional_batch_norm(v @ W) @ OUT,
    "F.batch_norm": lambda v: F.batch_norm(v @ W, None, None, training=True) @ OUT,
    "functional_dropout": lambda v: F.dropout(v @ W + 1, 0.3) @ OUT,
    "functional_dropout_of_zeros": lambda v: F.dropout(v, 0.3) @ normal(9, C),
    "rare_noise": lambda v: v @ normal(9, C) * (1 + (torch.rand(len(v), 1) < 1e-3)),
    "random_relu": nn.Sequential(nn.Linear(9, 7), nn.RReLU(), nn.Linear(7, C)),
}


# Refused whatever is drawn, not only where the draws of two rows happen to differ.
RANDOM = {"functional_dropout", "functional_dropout_of_zeros", "rare_noise", "random_relu"}


@pytest.mark.parametrize("curved", [False, True], ids=["piecewise_linear", "curved"])
@pytest.mark.parametrize("way", ["auto", "exact", "affine", 3])
@pytest.mark.parametrize("name", COUPLED)
def test_samples_that_are_coupled_or_random_are_refused(name, way, curved):
    head = COUPLED[name]
    if isinstance(head, nn.Module):
        head = nn.Sequential(head, nn.Tanh()) if curved else head
    elif curved:
        head = lambda v: torch.tanh(COUPLED[name](v))  # noqa: E731
    for seed in range(10 if name in RANDOM else 1):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        with pytest.raises(BadInput, match=r"coupl|random"):
            split_head(head, normal(6, 9), torch.arange(6) % C, hdiag=way)
        assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("way", ["auto", "exact", "affine"])
@pytest.mark.parametrize("point", ["zero", "mean"])
def test_images_coupled_by_a_function_are_refused(point, way):
    """One image has statistics of its own, so that a batch of copies shows nothing."""
    y = standardize(normal(6, *IMAGE))[0]
    y0 = {"zero": torch.zeros(IMAGE).double(), "mean": y.mean(0)}[point]

    def head(v):
        return F.gelu(F.batch_norm(v, None, None, training=True)).mean((2, 3)) @ normal(3, C)

    with pytest.raises(BadInput, match="coupl"):
        split_head(head, y, torch.arange(6) % C, y0, hdiag=way)


@pytest.mark.parametrize(
    ("layer", "name"),
    [(nn.BatchNorm1d(9), "BatchNorm1d"), (nn.Dropout(0.5), "Dropout")],
)
def test_refusal_names_the_layer_the_cause_and_what_to_do(layer, name):
    head = nn.Sequential(nn.Linear(9, 9), nn.Sequential(layer), nn.Linear(9, C))
    with pytest.raises(BadInput) as refusal:
        split_head(head, normal(6, 9), torch.arange(6) % C)
    message = str(refusal.value)
    assert "layer '1.0'" in message
    assert name in message
    assert ("evaluation mode" in message) or ("`blocked`" in message)


def test_dropout_in_evaluation_mode_is_allowed():
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(9, C)).eval()
    assert split_head(head, normal(6, 9), torch.arange(6) % C).method.startswith("fused")


# Input


Y, T = normal(6, 9), torch.arange(6) % C


def linear(v):
    return v @ normal(9, C)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"y": Y[0]}, r"\(n, \*S\); found torch.float64 of shape \(9,\)"),
        ({"y": Y.long()}, "found torch.int64"),
        ({"y0": torch.zeros(3)}, r"y0 must have shape \(9,\); found \(3,\)"),
        ({"sigma": torch.ones(3)}, r"sigma must have shape \(9,\); found \(3,\)"),
        ({"target": T[:4]}, "one target a sample, 6; found 4"),
        ({"target": T[0]}, "one target a sample"),
        ({"target": T.double()}, "needs integer targets"),
        ({"target": T + 1}, "target 4 is no class; allowed: 0 to 3"),
        ({"target": T - 1}, "target -1 is no class"),
        ({"loss": "mse"}, r"must have the outputs' shape"),
        ({"loss": "hinge"}, "unknown loss 'hinge'; allowed: cross_entropy, mse, gaussian_nll"),
        ({"loss": lambda z, t: F.cross_entropy(z, t)}, "one number a sample"),
        ({"hdiag": "dense"}, "hdiag 'dense' is unknown; allowed"),
        ({"hdiag": 1}, "hdiag 1 is unknown"),
        ({"hdiag": True}, "hdiag True is unknown"),
        ({"dtype": torch.float16}, "float16 is not allowed"),
        ({"head": lambda v: linear(v)[:, 0]}, r"shape \(1, C\)"),
        ({"head": lambda v: linear(v)[:, 0], "hdiag": "affine"}, r"shape \(1, C\)"),
        ({"head": lambda v: linear(v)[:, None]}, r"shape \(1, C\); found \(1, 1, 4\)"),
        ({"head": lambda v: (linear(v), 0)}, "output"),
        ({"head": lambda v: linear(v) / 0}, "must be finite"),
        ({"head": lambda v: linear(v) / 0, "hdiag": "affine"}, "must be finite"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_input_is_refused(change, found):
    with pytest.raises(BadInput, match=found):
        split_head(**{"head": linear, "y": Y, "target": T, **change})


# Nothing is left behind


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("own", [torch.float32, torch.float64])
def test_head_is_bitwise_as_it_was(own, refused):
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(9, 7), nn.BatchNorm1d(7), nn.Dropout(0.1), nn.Linear(7, C))
    head.to(own).eval()
    head[2].train(refused)
    head[0].weight.grad = torch.ones_like(head[0].weight)
    head[3].bias.requires_grad_(False)
    y, y0, target = Y.clone(), normal(9, seed=3), T.clone()
    before = snapshot(head, y, y0, target)
    for way in ("auto", "exact", "affine", 3):
        if refused:
            with pytest.raises(BadInput):
                split_head(head, y, target, y0, hdiag=way)
        else:
            split_head(head, y, target, y0, hdiag=way)
    assert snapshot(head, y, y0, target) == before


@pytest.mark.parametrize("refused", [False, True])
def test_buffers_that_a_forward_pass_updates_are_put_back(refused):
    """Instance norm treats rows independently, but averages its statistics while training."""
    norm = nn.InstanceNorm2d(3, track_running_stats=True)
    head = nn.Sequential(norm, nn.Flatten(), nn.Linear(48, C)).double()
    y = normal(6, *IMAGE)
    before = snapshot(head, y)
    for way in ("auto", "exact", "affine"):
        if refused:
            with pytest.raises(BadInput):
                split_head(head, y, T + 1, hdiag=way)
        else:
            split_head(head, y, T, hdiag=way)
    assert snapshot(head, y) == before


def test_weights_that_a_forward_pass_changes_are_refused_or_held():
    """Spectral norm takes a step of the power iteration with each pass while training."""
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(9, 7))
    head = nn.Sequential(layer, nn.LeakyReLU(), nn.Linear(7, C)).double()
    before = snapshot(head)
    try:
        found = split_head(head, Y, T, 0.3 * normal(9), hdiag="affine")
        again = split_head(head, Y, T, 0.3 * normal(9), hdiag="exact")
    except BadInput:
        return
    finally:
        assert snapshot(head) == before
    torch.testing.assert_close(found.total, again.total, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(found.first, again.first, rtol=1e-10, atol=1e-14)


def test_a_pending_backward_pass_is_not_disturbed():
    """Autograd refuses to use a saved tensor that was written to since, even with its own bits."""
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(9, 7), nn.BatchNorm1d(7), nn.Linear(7, C)).double().eval()
    loss = head(Y).sum()
    split_head(head, Y, T)
    loss.backward()


def test_gradients_need_not_be_switched_on():
    with torch.no_grad():
        found = split_head(linear, Y, T)
        found.gram_y  # noqa: B018
    assert torch.equal(found.total, split_head(linear, Y, T).total)


def test_auto_does_not_start_what_takes_hours():
    """D products for each distinct target: here 10 times 3,000."""
    head = nn.Sequential(nn.GELU(), nn.Linear(3000, 10)).double()
    y, target = normal(10, 3000), torch.arange(10)
    with pytest.raises(BadInput, match=r"30000 Hessian-vector products .* hdiag=64"):
        split_head(head, y, target)
    assert split_head(head, y, target, hdiag=2).hdiag_se is not None
    assert split_head(head, y, target * 0).method.startswith("exact")


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_called_so(spoiled):
    y = normal(4, 6)
    y[2, 3] = spoiled
    with pytest.raises(BadInput, match="features must be finite; found NaN or infinity"):
        split_head(nn.Linear(6, 3).double(), y, torch.zeros(4, dtype=torch.long))
