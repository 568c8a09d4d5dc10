"""Training flows: repeatable, stopped at the best validation likelihood, resumable, guarded."""

import dataclasses
import math
from functools import partial

import pytest
import torch

from bnblind import BadInput
from bnblind.errors import Diverged
from bnblind.experiments.batching import make_batches
from bnblind.experiments.flows.training import (
    FlowTrainer,
    best_flow,
    initial_flow,
    log_likelihoods,
    noisy,
    pair_parts,
)
from bnblind.experiments.randomness import stream
from bnblind.norms.bn_frozen import FrozenBatchNorm
from bnblind.pipeline.checkpoint import Checkpoint
from bnblind.pipeline.formats.weights import weights_bytes
from bnblind.pipeline.steps.train import train_all
from tests.helpers.flows import cell, same_weights, train
from tests.helpers.norms import FOR_VECTORS
from tests.helpers.parts import some
from tests.helpers.training import finished


def values(run, metric):
    return [row["value"] for row in run.metrics if row["metric"] == metric]


@pytest.fixture(scope="module")
def runs(digits):
    """Of each of the cell's seeds, trained without a break."""
    return [train(cell(), seed, digits) for seed in cell().seeds]


@pytest.fixture(scope="module")
def run(runs):
    return runs[0]


def test_a_seed_gives_the_same_run_bit_for_bit(runs, digits):
    run, other = runs
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = train(cell(), 0, digits)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.metrics == run.metrics
    assert all(same_weights(again.weights[epoch], run.weights[epoch]) for epoch in run.weights)
    assert other.metrics != run.metrics


def test_a_seed_gives_the_same_initial_weights_under_every_norm(digits):
    images = noisy(pair_parts(cell(), digits)["train"], 0, "train")
    flows = [initial_flow(cell(norm=norm), 0, images) for norm in FOR_VECTORS]
    for flow in flows:
        linear = [m.weight for m in flow.modules() if isinstance(m, torch.nn.Linear)]
        expected = [m.weight for m in flows[0].modules() if isinstance(m, torch.nn.Linear)]
        assert len(linear) == 4
        assert all(torch.equal(a, b) for a, b in zip(linear, expected, strict=True))


def test_noise_differs_between_epochs_and_parts_and_not_between_norms(digits, monkeypatch):
    seen, inputs = [], FlowTrainer.inputs

    def spy(trainer):
        seen.append(inputs(trainer))
        return seen[-1]

    monkeypatch.setattr(FlowTrainer, "inputs", spy)
    for norm in ("bn", "ln"):
        train(cell(norm=norm, epochs=2), 0, digits)
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    grey = pair_parts(cell(), digits)["train"].pixels.float()
    trainer = FlowTrainer(cell(), 0, digits)
    noises = [images * 17 - grey for images in (*seen[:2], trainer.measured["train"])]
    assert all(0.45 < noise.mean() < 0.55 for noise in noises)
    for i, noise in enumerate(noises):
        for other in noises[:i]:
            assert (noise - other).abs().mean() > 0.3  # 1/3 for independent noise


def test_metrics_are_complete_and_training_raises_the_likelihood(run):
    rows = [(row["epoch"], row["metric"]) for row in run.metrics]
    assert len(rows) == len(set(rows))
    both = ("log_likelihood", "bits_per_dimension")
    measured = {f"{part}.{figure}" for part in ("train", "validation") for figure in both}
    steps = {f"steps.{figure}" for figure in both}
    assert set(rows) == {(0, m) for m in measured} | {
        (epoch, m) for epoch in (1, 2, 3) for m in measured | steps
    }
    for name in ("steps", "train", "validation"):
        likelihoods = values(run, f"{name}.log_likelihood")
        bits = values(run, f"{name}.bits_per_dimension")
        assert likelihoods[-1] > likelihoods[0] + 2
        assert bits == pytest.approx([(math.log(17) - v / 64) / math.log(2) for v in likelihoods])


def test_the_best_epochs_weights_are_kept_and_patience_ends_training(digits, monkeypatch):
    """With likelihoods made up: best at epoch 2, then five epochs without a better one."""
    validations = iter([0.0, 1.0, 5.0, 4.0, 5.0, 3.0, 4.9, 2.0, 6.0])
    trainer = FlowTrainer.__new__(FlowTrainer)
    seen = {}

    def made_up(flow, images):
        if len(images) == len(trainer.measured["train"]):
            return torch.zeros(1)
        value = next(validations)
        seen[value] = {n: t.clone() for n, t in flow.state_dict().items()}
        return torch.tensor([value])

    monkeypatch.setattr("bnblind.experiments.flows.training.log_likelihoods", made_up)
    trainer.__init__(cell(epochs=8, patience=5), 0, digits)
    kept = None
    while not trainer.finished:
        trainer.advance()
        if trainer.epoch == 2:
            kept = {n: t.clone() for n, t in trainer.model.state_dict().items()}
    assert trainer.epoch == 7
    assert list(trainer.run.weights) == [2]
    assert same_weights(trainer.run.weights[2], kept)


def test_the_kept_weights_give_the_recorded_likelihood(run, digits):
    settings = cell()
    (best,) = run.weights
    images = noisy(pair_parts(settings, digits)["validation"], 0, "validation")
    found = log_likelihoods(best_flow(settings, run, digits), images).mean().item()
    recorded = {r["epoch"]: r["value"] for r in run.metrics if r["metric"] == VALIDATION}
    assert found == recorded[best] == max(recorded.values())


VALIDATION = "validation.log_likelihood"


@pytest.mark.parametrize("place", [0, 0.1, 1, 1.5, 2.1])
def test_an_interrupted_job_ends_with_the_same_bits(runs, digits, tmp_path, monkeypatch, place):
    """Interrupted after so many epochs of the job, within one and between two."""
    settings = cell()
    each = (
        len(FlowTrainer(settings, 0, digits).epoch_batches()) + 1
    )  # after each step, and the epoch
    saves = int(place * each) or 1
    checkpoint = Checkpoint(tmp_path / "c", "this job", interval=0)
    save, saved = Checkpoint.save, []

    def interrupting_save(self, finished, trainer):
        save(self, finished, trainer)
        saved.append(trainer.epoch)
        if len(saved) == saves:
            raise KeyboardInterrupt

    def go_on():
        return train_all([settings], partial(FlowTrainer, data=digits), checkpoint, id)

    monkeypatch.setattr(Checkpoint, "save", interrupting_save)
    with pytest.raises(KeyboardInterrupt):
        go_on()
    resumed = go_on()
    assert len(saved) == each * settings.epochs * len(settings.seeds), "a step was trained twice"
    assert weights_bytes(resumed) == weights_bytes([(settings, run) for run in runs])
    assert [run.metrics for _, run in resumed] == [run.metrics for run in runs]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_divergence_is_said_of_its_first_step_and_nothing_is_recorded_of_its_epoch(value, digits):
    trainer = FlowTrainer(cell(norm="none"), 0, digits)
    images = trainer.inputs()
    batches = make_batches("label", trainer.labels, 64, stream(0, "batches", 1))
    images[batches[1][3]] = value
    trainer.inputs = lambda: images
    with pytest.raises(Diverged, match="epoch 1 step 1: the training loss is nan"):
        trainer.advance()
    assert {row["epoch"] for row in trainer.run.metrics} == {*trainer.run.weights} == {0}


def test_a_run_that_diverges_names_itself(digits):
    where = r"^digits 9v8 mlp none none random seed 7 epoch \d+ .* is (nan|-?inf)$"
    with pytest.raises(Diverged, match=where):
        train(cell(norm="none", coupling_norm="none", batching="random", lr=1e30), 7, digits)


def test_a_class_of_one_image_makes_a_batch_of_one(digits):
    """BN inside the couplings refuses it; the scalar norm and LN take it."""
    part = digits.train
    lone = (part.labels == 8).nonzero().flatten()[:1]
    rows = torch.cat([(part.labels == 9).nonzero().flatten(), lone])
    data = dataclasses.replace(digits, train=some(part, rows))
    with pytest.raises(BadInput, match="at least 2 values per channel"):
        train(cell(epochs=1), 0, data)
    assert train(cell(norm="ln", epochs=1), 0, data).metrics


def test_the_scale_regularization_pulls_at_the_gains_alone(digits):
    one_step = {"optimizer": {"name": "sgd"}, "lr": 0.01, "batching": "random", "batch_size": 1000}
    flows = []
    for strength in (0.0, 1.0):
        trainer = FlowTrainer(cell(scale_regularization=strength, **one_step), 0, digits)
        trainer.advance()
        flows.append(dict(trainer.model.named_parameters()))
    free, pulled = flows
    for name in free:
        if name.endswith("gain"):
            torch.testing.assert_close(free[name] - pulled[name], torch.full_like(free[name], 0.02))
        else:
            assert torch.equal(free[name], pulled[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coupling": "rnn"}, "unknown coupling 'rnn'"),
        ({"pair": [3, 3]}, "a pair needs images of two classes"),
        ({"optimizer": {"name": "lion"}}, "unknown optimizer 'lion'; allowed: sgd, adam, adamax"),
    ],
)
def test_a_wrong_word_is_refused(changes, message, digits):
    with pytest.raises(BadInput, match=message):
        train(cell(**changes), 0, digits)


def test_a_frozen_norm_starts_with_the_statistics_of_the_training_images(digits):
    """At the first norm, that of its input; not with mean 0 and variance 1."""
    settings = cell(norm="bn_frozen")
    images = noisy(pair_parts(settings, digits)["train"], 0)
    flow = initial_flow(settings, 0, images)
    first = next(layer for layer in flow.modules() if isinstance(layer, FrozenBatchNorm))
    seen = []
    first.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        flow(images)
    torch.testing.assert_close(first.running_mean, seen[0].mean(0), rtol=1e-4, atol=1e-5)
    assert first.running_mean.abs().max() > 1e-3


def test_without_patience_the_last_epoch_is_judged(digits):
    """Where the best one is another: at this rate the first makes things worse."""
    kept = [
        [*finished(FlowTrainer(cell(patience=n, epochs=1, lr=0.5), 0, digits)).weights]
        for n in (0, 1)
    ]
    assert kept == [[1], [0]]


def test_an_epoch_may_be_a_number_of_batches(digits):
    """Of as many passes as it takes; the first of them is the whole epoch of a cell without."""
    plain, few, many = (FlowTrainer(cell(batches_per_epoch=n), 0, digits) for n in (None, 3, 40))
    for trainer in (plain, few, many):
        trainer.epoch = 1
    passes = plain.epoch_batches()
    assert [len(trainer.epoch_batches()) for trainer in (few, many)] == [3, 40]
    same = zip(many.epoch_batches()[: len(passes)], passes, strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not torch.equal(many.epoch_batches()[len(passes)], passes[0])
    many.epoch = 2
    assert not torch.equal(many.epoch_batches()[0], passes[0])
