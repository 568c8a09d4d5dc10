"""Training one cell: repeatable, complete in what it reports, and the paper's effect is there."""

import dataclasses
import math
from functools import cache

import pytest
import torch

from bnblind import BadInput
from bnblind.errors import Diverged
from bnblind.experiments.batching import make_batches, order_hash
from bnblind.experiments.datasets import Dataset, Part
from bnblind.experiments.networks.cell import MODES, NetworkCell
from bnblind.experiments.networks.evaluation import evaluate
from bnblind.experiments.networks.training import NetworkTrainer, initial_model
from bnblind.experiments.randomness import stream
from tests.helpers.norms import FOR_VECTORS
from tests.helpers.parts import scaled_part, some
from tests.helpers.training import finished

SETTINGS = {
    "dataset": "digits",
    "model": "head",
    "norm": "bn",
    "batching": "random",
    "lr": 0.01,
    "batch_size": 16,
    "epochs": 1,
    "seeds": [0],
    "snapshots": [],
    "optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 0.01},
}


def cell(**changes):
    return NetworkCell.from_settings({**SETTINGS, **changes})


def train(cell, seed, data):
    return finished(NetworkTrainer(cell, seed, data))


def values(run, metric):
    return [row["value"] for row in run.metrics if row["metric"] == metric]


def same_weights(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def run(digits):
    """One run that several tests look at."""
    return train(cell(epochs=3, snapshots=[1]), 0, digits)


@pytest.fixture(scope="module")
def two_epochs(digits):
    """Runs of two epochs that several tests look at, each trained once."""
    return cache(lambda seed=0, **changes: train(cell(epochs=2, **changes), seed, digits))


def test_a_seed_gives_the_same_run_bit_for_bit(run, digits):
    """Whatever the global generator holds, and without touching it."""
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = train(cell(epochs=3, snapshots=[1]), 0, digits)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.metrics == run.metrics
    assert all(same_weights(again.weights[epoch], run.weights[epoch]) for epoch in run.weights)


def test_another_seed_gives_another_run(run, digits):
    other = train(cell(epochs=1), 1, digits)
    assert values(other, "train.loss")[0] != values(run, "train.loss")[0]
    assert not torch.equal(other.weights[0]["1.weight"], run.weights[0]["1.weight"])


def test_a_seed_gives_the_same_initial_weights_under_every_norm(digits):
    models = {n: initial_model(cell(norm=n), 0, digits) for n in FOR_VECTORS}
    for model in models.values():
        for layer in (1, 3, 5):
            assert torch.equal(model[layer].weight, models["none"][layer].weight)
            assert torch.equal(model[layer].bias, models["none"][layer].bias)


def test_frozen_statistics_are_the_training_part_s(digits):
    model = initial_model(cell(norm="bn_frozen"), 0, digits)
    before_norm = model[:4](digits.train.images).detach()
    torch.testing.assert_close(model[4].running_mean, before_norm.mean(0))
    torch.testing.assert_close(model[4].running_var, before_norm.var(0, correction=0))


def test_metrics_are_complete(run):
    """Epoch 0 has what can be measured before training; modes but evaluation's are of kept epochs;
    no row twice.
    """

    def measured(modes):
        parts, figures = ("validation", "test"), ("loss", "accuracy")
        return {f"{p}.{mode}.{figure}" for p in parts for mode in modes for figure in figures}

    trained = {"train.loss", "train.accuracy"}
    rows = [(row["epoch"], row["metric"]) for row in run.metrics]
    assert len(rows) == len(set(rows))
    assert set(rows) == {(0, m) for m in measured(MODES)} | {
        (epoch, m)
        for epoch in (1, 2, 3)
        for m in measured(MODES if epoch in run.weights else ["eval"]) | trained
    }
    assert {0, 3} <= set(run.weights) < {0, 1, 2, 3}
    assert all(math.isfinite(row["value"]) for row in run.metrics)
    assert all(0 <= r["value"] <= 1 for r in run.metrics if r["metric"].endswith("accuracy"))


def test_without_its_course_a_run_is_measured_at_its_end_only(digits):
    """The same values as with it, in evaluation mode."""
    whole, late = (train(cell(epochs=4, course=course), 0, digits) for course in (True, False))
    found = [row for row in late.metrics if not row["metric"].startswith("train.")]
    assert {row["epoch"] for row in found} == {2, 3, 4}
    assert len(found) == 3 * 4
    assert all(row in whole.metrics and ".eval." in row["metric"] for row in found)
    assert same_weights(whole.weights[4], late.weights[4])


def test_before_the_last_epoch_a_part_of_the_images_can_be_measured(digits):
    few, whole = (train(cell(evaluated=n, epochs=3), 0, digits) for n in (50, None))
    for epoch in (0, 1, 2, 3):
        own, complete = (values(run, "test.eval.loss")[epoch] for run in (few, whole))
        assert (own == complete) == (epoch == 3)
    ended = {f"test.{mode}.{figure}" for mode in MODES[1:] for figure in ("loss", "accuracy")}
    others = [row for row in few.metrics if any(f".{m}." in row["metric"] for m in MODES[1:])]
    assert {(row["epoch"], row["metric"]) for row in others} == {(3, name) for name in ended}
    assert all(row in whole.metrics for row in others)
    assert all((50 * found).is_integer() for found in values(few, "test.eval.accuracy")[:3])
    assert same_weights(few.weights[3], whole.weights[3])


@pytest.mark.parametrize("chunk", [2048, 100, 7])
def test_evaluation_in_chunks_is_that_in_one_pass(digits, chunk, monkeypatch):
    """And no more samples than that go through the network at once."""
    run, whole = (train(cell(chunk=n, epochs=1), 0, digits) for n in (chunk, 10**6))
    found, expected = (
        [row["value"] for row in own.metrics if ".eval." in row["metric"]] for own in (run, whole)
    )
    assert found == pytest.approx(expected, rel=1e-5)
    model, seen = initial_model(cell(), 0, digits), []
    model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    evaluate(model, digits.test, "eval", 16, 0, chunk=chunk)
    assert max(seen) == min(chunk, len(digits.test))
    assert sum(seen) == len(digits.test)


def test_frozen_statistics_do_not_depend_on_the_chunks(digits):
    """Of two layers, the second of which sees what the first one makes of all chunks."""
    found = [
        initial_model(cell(model="mlp", norm="bn_frozen", chunk=n), 0, digits).state_dict()
        for n in (2048, 100)
    ]
    names = [name for name in found[0] if "running" in name]
    assert len(names) == 4
    for name in names:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-5, atol=1e-6)


def test_dropout_draws_from_the_runs_own_stream(digits):
    """So the same bits whatever was drawn before, and others in each epoch and for each seed."""
    pixels = torch.randint(0, 17, (40, 1, 17, 17), generator=torch.Generator().manual_seed(0))
    part = Part(pixels.byte(), torch.arange(40) % 4, digits.scale)
    data = Dataset(part, part, part)
    deep = {"model": "vgg11", "width": 1, "init": "he", "epochs": 1, "norm": "ln"}

    def trained(before: int, **changes: float):
        torch.manual_seed(before)
        return train(cell(**deep, **changes), 0, data).weights[1]

    assert same_weights(trained(1), trained(2))
    assert not same_weights(trained(1), trained(1, dropout=0.0))


def test_weights_are_kept_at_the_start_the_snapshots_and_the_end(run, digits):
    assert list(run.weights) == [0, 1, 3]
    initial = initial_model(cell(), 0, digits).state_dict()
    assert same_weights(run.weights[0], initial)
    assert same_weights(run.weights[1], train(cell(epochs=1), 0, digits).weights[1])
    assert not torch.equal(run.weights[3]["1.weight"], run.weights[1]["1.weight"])


def test_training_metrics_are_means_over_the_samples(digits):
    """With a learning rate of 0 and no norm they are the loss of the initial weights."""
    still = cell(norm="none", lr=0.0)
    found = train(still, 0, digits)
    with torch.no_grad():
        logits = initial_model(still, 0, digits)(digits.train.images)
    expected = torch.nn.functional.cross_entropy(logits, digits.train.labels).item()
    assert values(found, "train.loss")[0] == pytest.approx(expected, rel=1e-5)
    correct = (logits.argmax(1) == digits.train.labels).float().mean().item()
    assert values(found, "train.accuracy")[0] == pytest.approx(correct, abs=2e-3)


@pytest.mark.parametrize("norm", FOR_VECTORS)
def test_every_norm_trains_on_random_batches(norm, two_epochs):
    """From chance (0.1) to most digits in two epochs, in training mode, also the controls."""
    found = values(two_epochs(norm=norm), "test.random.accuracy")
    assert found[0] < 0.4
    assert found[-1] > 0.6


def test_bn_learns_nothing_from_label_batches_and_ln_does(two_epochs):
    """C5 in its strongest form, and T6: BN's loss cannot leave log 10."""
    bn, ln = (two_epochs(norm=n, batching="label") for n in ("bn", "ln"))
    assert values(bn, "train.loss")[-1] > math.log(10) - 0.05
    assert values(bn, "test.eval.accuracy")[-1] < 0.4
    assert values(ln, "train.loss")[-1] < math.log(10) - 1
    assert values(ln, "test.eval.accuracy")[-1] > 0.7


def test_a_run_that_diverges_names_run_epoch_and_step(digits):
    where = r"^digits head none random lr 1e\+30 seed 7 epoch 1 step \d+: .* is (nan|inf)$"
    with pytest.raises(Diverged, match=where):
        train(cell(norm="none", lr=1e30), 7, digits)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_divergence_is_said_of_its_first_step_and_nothing_is_recorded_of_its_epoch(value, digits):
    settings, images = cell(norm="none"), digits.train.images.clone()
    batches = make_batches("random", digits.train.labels, 16, stream(0, "batches", 1))
    images[batches[1][3]] = value
    data = dataclasses.replace(digits, train=scaled_part(images, digits.train.labels))
    trainer = NetworkTrainer(settings, 0, data)
    with pytest.raises(Diverged, match="epoch 1 step 1: the training loss is nan"):
        trainer.advance()
    assert {row["epoch"] for row in trainer.run.metrics} == {*trainer.run.weights} == {0}


def test_batches_differ_between_epochs_and_not_between_norms(digits, monkeypatch):
    drawn = []

    def spy(*args):
        drawn.append(make_batches(*args))
        return drawn[-1]

    monkeypatch.setattr("bnblind.experiments.trainer.make_batches", spy)
    for norm in ("bn", "ln"):
        train(cell(norm=norm, epochs=2), 3, digits)
    orders = [torch.cat(batches).tolist() for batches in drawn]
    assert orders[:2] == orders[2:]
    assert orders[0] != orders[1]
    expected = make_batches("random", digits.train.labels, 16, stream(3, "batches", 1))
    assert orders[0] == torch.cat(expected).tolist()


def test_the_hash_of_the_batches_depends_on_seed_batching_and_epochs_only(two_epochs, digits):
    once = two_epochs(norm="bn").batch_order
    assert len(once) == 64
    for norm in FOR_VECTORS:
        assert two_epochs(norm=norm).batch_order == once
    assert two_epochs(model="mlp", lr=0.02).batch_order == once
    others = [
        two_epochs(seed=4),
        two_epochs(norm="bn", batching="label"),
        two_epochs(batching="purity-0.9"),
        train(cell(epochs=1), 0, digits),
    ]
    assert len({once, *(other.batch_order for other in others)}) == 5
    labels = digits.train.labels
    epochs = [make_batches("random", labels, 16, stream(0, "batches", n)) for n in (1, 2)]
    assert once == order_hash(order_hash("", epochs[0]), epochs[1])


@pytest.mark.parametrize("batching", ["label", "label_shuffled", "purity-1"])
def test_batch_statistics_refuse_a_class_of_one_sample_and_others_train(batching, digits):
    labels = digits.train.labels
    alone = torch.cat([(labels != 9).nonzero()[:, 0], (labels == 9).nonzero()[:1, 0]])
    few = some(digits.train, alone)
    data = dataclasses.replace(digits, train=few)
    with pytest.raises(BadInput, match=r"at least 2 values per channel .*found .*\(1, 32\)"):
        train(cell(norm="bn", batching=batching), 0, data)
    assert len(train(cell(norm="ln", batching=batching), 0, data).weights) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "vgg"}, "unknown model 'vgg'; allowed: head"),
        ({"norm": "BN"}, "unknown norm 'BN'; allowed: bn, "),
        ({"norm": "in"}, r"norm 'in' needs .*found \(32,\)"),
        ({"batching": "randomly"}, "unknown batching 'randomly'; allowed: random"),
        ({"batching": "purity-0.05"}, "purity must lie between 1 / classes = 0.1 and 1"),
        ({"optimizer": {"name": "lion"}}, "unknown optimizer 'lion'; allowed: sgd"),
        ({"loss": "hinge"}, "unknown training loss 'hinge'; allowed: cross_entropy"),
        ({"snapshots": [1, 2, 5]}, r"snapshots \[2, 5\] lie after the last epoch, 1"),
    ],
)
def test_a_wrong_word_is_refused(changes, message, digits):
    with pytest.raises(BadInput, match=message):
        train(cell(**changes), 0, digits)


def test_a_cells_weight_decay_is_used_in_place_of_the_optimizers(digits):
    own = SETTINGS["optimizer"]["weight_decay"]
    plain = train(cell(norm="none"), 0, digits)
    same, less, more = (
        train(cell(norm="none", weight_decay=d), 0, digits) for d in (own, 0.0, 1.0)
    )
    assert same_weights(plain.weights[1], same.weights[1])
    small, mid, large = (run.weights[1]["1.weight"].norm() for run in (more, plain, less))
    assert small < 0.8 * mid < 0.8 * large
    assert cell(weight_decay=0.0).identity["weight_decay"] == 0.0
    assert "weight_decay" not in cell().identity


def test_hes_initialization_is_the_cells(digits):
    own, he = (initial_model(cell(norm="none", init=init), 0, digits) for init in ("torch", "he"))
    assert any(parameter.any() for name, parameter in own.named_parameters() if "bias" in name)
    biases = [parameter for name, parameter in he.named_parameters() if "bias" in name]
    assert biases
    assert not any(bias.any() for bias in biases)
