"""The probe leaves no trace, and refuses what it cannot read before anything runs."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bnblind import BadInput, BlindnessProbe, build_norm
from tests.helpers.cases import normal
from tests.helpers.probing import IMAGES, LABELS, check, initialized, loss_of, network, probed
from tests.helpers.snapshot import bits, snapshot


def state(model):
    """All that the probe might have changed, to compare two models by."""
    hooks = [
        {k: list(v) for k, v in vars(m).items() if k.endswith("_hooks")} for m in model.modules()
    ]
    modes = [m.training for m in model.modules()]
    tensors = [bits(v) for v in (*model.parameters(), *model.buffers(), torch.get_rng_state())]
    return tensors, hooks, modes


def test_nothing_is_left_behind_and_gradients_are_the_same_bits():
    found = []
    for watched in (False, True):
        model = network()
        torch.manual_seed(4)
        if watched:
            with BlindnessProbe(model) as probe:
                F.cross_entropy(model(IMAGES), LABELS).backward()
            probe.table()
        else:
            F.cross_entropy(model(IMAGES), LABELS).backward()
        found.append((state(model), [p.grad for p in model.parameters()]))
    (plain, gradients), (watched, others) = found
    assert plain == watched
    assert [g is None for g in gradients] == [g is None for g in others]
    assert all(torch.equal(a, b) for a, b in zip(gradients, others, strict=True) if a is not None)
    assert torch.overrides._len_torch_function_stack() == 0


def must_not_be_called(*_):
    raise AssertionError("a hook was left on the graph")


def test_after_the_block_the_graph_is_read_no_more(monkeypatch):
    layer, x = initialized(nn.BatchNorm1d(4)), normal(6, 4)
    loss = loss_of(layer(x))
    with BlindnessProbe(layer):
        loss.backward(retain_graph=True)
    monkeypatch.setattr("bnblind.probe.arrived", must_not_be_called)
    loss.backward()


class Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ArithmeticError("the user's own failure")


def test_a_backward_call_that_raises_leaves_no_hook_and_no_reading(monkeypatch):
    layer, x = initialized(nn.BatchNorm1d(4)), normal(6, 4).requires_grad_()
    z = layer(Fails.apply(x))
    probe = BlindnessProbe(layer)
    with pytest.raises(ArithmeticError, match="own failure"), probe:
        loss_of(z).backward(retain_graph=True)
    assert torch.overrides._len_torch_function_stack() == 0
    with pytest.raises(BadInput, match="no backward call"):
        probe.table()
    monkeypatch.setattr("bnblind.probe.arrived", must_not_be_called)
    torch.autograd.grad(loss_of(z), layer.weight)


def test_an_exception_inside_the_block_is_passed_on():
    with pytest.raises(KeyError), BlindnessProbe(nn.BatchNorm1d(2)):
        raise KeyError
    assert torch.overrides._len_torch_function_stack() == 0


def test_the_block_may_be_entered_again_but_not_within_itself():
    layer = nn.BatchNorm1d(4).double()
    probe = BlindnessProbe(layer)
    for _ in range(2):
        with probe:
            loss_of(layer(normal(6, 4))).backward()
    reference, _, _ = probed(copy.deepcopy(layer), normal(6, 4))
    check(probe.table().iloc[0], reference.table().iloc[0, 3:8].to_dict())
    with probe, pytest.raises(BadInput, match="active already"):
        probe.__enter__()


def test_a_model_without_batch_norm_is_refused():
    with pytest.raises(BadInput, match=r"found none in Sequential; allowed: BatchNorm1d"):
        BlindnessProbe(nn.Sequential(nn.Linear(2, 2), build_norm("ln", (2,))))


def test_a_table_before_any_backward_call_is_refused():
    with BlindnessProbe(nn.BatchNorm1d(2)) as probe:
        pass
    with pytest.raises(BadInput, match=r"no backward call; call loss.backward\(\) inside"):
        probe.table()


class SyncBatchNorm(torch.autograd.Function):
    """Under the name of the node that torch makes for several processes."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_is_refused_before_anything_runs(reentrant):
    model = network()
    x = IMAGES.clone().requires_grad_()
    loss = checkpoint(model, x, use_reentrant=reentrant).sum()
    before = snapshot(model, x)
    with BlindnessProbe(model), pytest.raises(BadInput, match="checkpointing; switch it off"):
        loss.backward()
    assert snapshot(model, x) == before


def test_several_processes_and_batched_gradients_are_refused():
    layer, x = nn.BatchNorm1d(4).double(), normal(6, 4).requires_grad_()
    z = layer(x)
    with BlindnessProbe(layer), pytest.raises(BadInput, match="several processes"):
        SyncBatchNorm.apply(z).sum().backward()
    with BlindnessProbe(layer), pytest.raises(BadInput, match="found is_grads_batched"):
        torch.autograd.grad(z, x, z.new_ones(2, 6, 4), is_grads_batched=True)
