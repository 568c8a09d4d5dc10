"""Kinks of the head at the expansion point: which count, and how many."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import split_head
from tests.helpers.cases import IMAGE, OUT, VECTOR, C, W, normal


def conv_pool(bias):
    kernel = normal(4, 3, 3, 3, seed=13)
    return lambda v: F.max_pool2d(F.conv2d(v, kernel, bias, padding=1), 2).mean((2, 3))


KINKED = {
    "relu": (lambda v: F.relu(v) @ normal(9, C), VECTOR),
    "relu_inplace": (lambda v: F.relu_(v) @ normal(9, C), VECTOR),
    "relu_method": (lambda v: v.relu() @ normal(9, C), VECTOR),
    "relu_module": (nn.Sequential(nn.ReLU(), nn.Linear(9, C)), VECTOR),
    "relu_by_keyword": (lambda v: F.relu(input=v) @ normal(9, C), VECTOR),
    # Behind these, the rows of a batch are others.
    "relu_of_parts": (lambda v: F.relu(v.reshape(-1, 3)).view(-1, 9) @ normal(9, C), VECTOR),
    "relu_sequence_first": (lambda v: F.relu(v.T).T @ normal(9, C), VECTOR),
    "relu_row_by_row": (lambda v: torch.stack([*map(F.relu, v)]) @ normal(9, C), VECTOR),
    "leaky_relu": (lambda v: F.leaky_relu(v @ W) @ OUT, VECTOR),
    "prelu": (nn.Sequential(nn.PReLU(), nn.Linear(9, C)), VECTOR),
    "threshold": (lambda v: F.threshold(v, 0, 0) @ normal(9, C), VECTOR),
    "threshold_module": (nn.Sequential(nn.Threshold(0, 0), nn.Linear(9, C)), VECTOR),
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
    """Exactly 0 for all features."""
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


class WithoutForwardDerivative(torch.autograd.Function):
    """The identity, as a user's own function gives it: torch cannot send tangents through."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_kinks_are_seen_behind_functions_without_forward_derivatives():
    def head(v):
        return F.relu(WithoutForwardDerivative.apply(v)) @ normal(9, C)

    y, target = normal(5, 9), torch.arange(5) % C
    assert split_head(head, y, target).kinks == 9
    assert split_head(head, y, target, 0.1 * normal(9, seed=9)).kinks == 0
