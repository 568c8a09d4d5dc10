"""Evaluation in three modes: right numbers, and the model as it was."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind.experiments.networks.cell import MODES
from bnblind.experiments.networks.evaluation import evaluate
from bnblind.experiments.networks.models import build_model
from bnblind.experiments.optimizers import build_optimizer
from tests.helpers.parts import scaled_part


def network(norm):
    """The head network with weights from a fixed seed, far enough from 0 to tell modes apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model("head", norm, (1, 8, 8), 10)


def test_eval_mode_is_the_mean_over_the_part(digits):
    model, part = network("bn").eval(), digits.test
    loss, accuracy = evaluate(model, part, "eval", batch_size=7, seed=0)
    logits = model(part.images)
    assert loss == pytest.approx(F.cross_entropy(logits, part.labels).item(), rel=1e-6)
    assert accuracy == pytest.approx((logits.argmax(1) == part.labels).double().mean().item())


@pytest.mark.parametrize("norm", ["none", "ln", "bn_affine"])
def test_modes_agree_where_samples_do_not_meet(norm, digits):
    results = [evaluate(network(norm), digits.test, mode, 16, seed=0) for mode in MODES]
    for loss, accuracy in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-5)
        assert accuracy == pytest.approx(results[0][1], abs=0.01)


def test_training_modes_use_the_batch_s_statistics(digits):
    """Running statistics that are far off matter in evaluation mode only."""
    model = network("bn")
    before = {mode: evaluate(model, digits.test, mode, 16, seed=0) for mode in MODES}
    model[4].running_mean += 5
    after = {mode: evaluate(model, digits.test, mode, 16, seed=0) for mode in MODES}
    assert after["eval"] != before["eval"]
    assert after["random"] == before["random"]
    assert after["label"] == before["label"]


def test_label_mode_has_pure_batches(digits):
    """T6: centering takes the class out of a pure batch, for all weights; balanced
    classes in batches that fill up, so that every class counts the same.
    """
    labels = torch.arange(10).repeat_interleave(32)
    noise = 0.01 * torch.randn(320, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    separable = scaled_part(F.one_hot(labels, 64).float().view(-1, 1, 8, 8) + noise, labels)
    model = network("bn")
    model[4].running_mean.zero_()
    optimizer = build_optimizer("sgd", model.parameters(), 0.1)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(separable.images), labels).backward()
        optimizer.step()
    assert evaluate(model, separable, "random", 320, seed=0)[0] < 0.5
    assert evaluate(model, separable, "label", 32, seed=0)[0] >= math.log(10) - 1e-6


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_bitwise_as_it_was(mode, training, digits):
    model = nn.Sequential(network("bn"), nn.Dropout(0.0)).train(training)
    model[0][4].eval()  # a module whose mode differs from its parent's
    parameters = [p.detach().clone() for p in model.parameters()]
    buffers = [b.clone() for b in model.buffers()]
    modes = [m.training for m in model.modules()]
    rng = torch.get_rng_state()
    evaluate(model, digits.test, mode, 16, seed=0)
    assert all(map(torch.equal, model.parameters(), parameters))
    assert all(map(torch.equal, model.buffers(), buffers))
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), rng)


def test_the_model_is_left_as_it_was_after_an_error(digits):
    model = network("bn").eval()
    buffers = [b.clone() for b in model.buffers()]
    labels = torch.zeros(33, dtype=torch.int64)
    broken = scaled_part(torch.cat([digits.test.images[:32], digits.test.images[:1]]), labels)
    model[5].register_forward_hook(lambda *_: 1 / 0)
    under_way: dict[str, torch.Tensor] = {}
    with pytest.raises(ZeroDivisionError):
        evaluate(model, broken, "random", 16, seed=0, under_way=under_way)
    assert not under_way
    assert all(map(torch.equal, model.buffers(), buffers))
    assert not any(m.training for m in model.modules())


def test_a_seed_gives_the_same_batches_at_every_call(digits):
    model = network("bn")
    first, again, other = (evaluate(model, digits.test, "random", 16, seed=s) for s in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_dropped_out_of_what_is_measured(mode, digits):
    """Or it would hang on the random numbers that were drawn before, and differ in a run that was
    interrupted.
    """
    torch.manual_seed(0)
    dropping = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
    dropping.train()
    plain = nn.Sequential(nn.Flatten(), nn.Identity(), dropping[2])
    found = evaluate(dropping, digits.test, mode, 16, 0)
    assert found == evaluate(plain, digits.test, mode, 16, 0)
    assert dropping[1].training
