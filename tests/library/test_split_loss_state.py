"""What `split_loss` leaves behind: nothing."""

import pytest
import torch
from torch import nn

from bnblind import split_loss
from tests.helpers.cases import C
from tests.helpers.dense import PARTS
from tests.helpers.models import VECTORS, data, drawn, two_norms, vectors
from tests.helpers.snapshot import snapshot


@pytest.mark.parametrize("own", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.GELU])
@pytest.mark.parametrize("way", ["auto", "exact", 3])
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
