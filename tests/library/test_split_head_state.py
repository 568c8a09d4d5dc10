"""What `split_head` leaves behind: nothing."""

import pytest
import torch
from torch import nn

from bnblind import BadInput, split_head
from tests.helpers.cases import IMAGE, OTHER_OUTPUTS, C, T, Y, linear, normal
from tests.helpers.snapshot import snapshot


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
    for way in ("auto", "exact", 3):
        if refused:
            with pytest.raises(BadInput, match=r"layer '2' \(Dropout, p = 0\.1\) is in training"):
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
    for way in ("auto", "exact"):
        if refused:
            with pytest.raises(BadInput, match="target 4 is not a class"):
                split_head(head, y, T + 1, hdiag=way)
        else:
            split_head(head, y, T, hdiag=way)
    assert snapshot(head, y) == before


@pytest.mark.parametrize("way", ["auto", "exact", 3])
def test_weights_that_a_forward_pass_changes_are_refused_and_put_back(way):
    """Spectral norm takes a step of the power iteration with each pass while training."""
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(9, 7))
    head = nn.Sequential(layer, nn.LeakyReLU(), nn.Linear(7, C)).double()
    before = snapshot(head)
    with pytest.raises(BadInput, match=OTHER_OUTPUTS):
        split_head(head, Y, T, 0.3 * normal(9), hdiag=way)
    assert snapshot(head) == before


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


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("enabled", [False, True])
def test_attentions_fast_path_is_as_it_was(enabled, refused):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        if refused:
            with pytest.raises(BadInput, match="target 4 is not a class"):
                split_head(linear, Y, T + 1)
        else:
            split_head(linear, Y, T)
        assert torch.backends.mha.get_fastpath_enabled() == enabled
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class FailsInTheSecondDerivative(torch.autograd.Function):
    """The cube of its input."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * Failing.apply(3 * x**2)


class Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("the user's own failure")


def test_failures_of_the_users_own_functions_are_passed_on():
    """They are no sign that torch has no second derivative."""
    with pytest.raises(RuntimeError, match=r"^the user's own failure"):
        split_head(lambda v: linear(FailsInTheSecondDerivative.apply(v)), Y, T, hdiag="exact")
