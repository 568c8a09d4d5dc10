"""Judging flows: on test images alone, with plain and with recalibrated statistics."""

import dataclasses

import pytest
import torch

from bnblind.experiments.batching import make_batches
from bnblind.experiments.flows.judging import (
    AVERAGING,
    SHARES,
    draw_pairs,
    evaluate_run,
    mixed_images,
    probability_of_telling,
    recalibrated,
)
from bnblind.experiments.flows.training import best_flow, log_likelihoods, noisy, pair_parts
from tests.helpers.flows import cell, same_weights, train


@pytest.fixture(scope="module")
def run(digits):
    return train(cell(), 0, digits)


def running(flow):
    """The layers that keep running averages."""
    return [layer for layer in flow.modules() if isinstance(layer, AVERAGING)]


def test_recalibrated_statistics_are_those_of_mixed_batches(run, digits):
    """The first norm's mean is the mean of its input over the pair's training images."""
    settings = cell()
    flow, part = best_flow(settings, run, digits), pair_parts(settings, digits)["train"]
    before = {n: t.clone() for n, t in flow.state_dict().items()}
    found = recalibrated(flow, part, settings, 0)
    assert same_weights(flow.state_dict(), before)
    assert all(
        torch.equal(p, dict(found.named_parameters())[n]) for n, p in flow.named_parameters()
    )
    assert not found.training
    assert [layer.momentum for layer in running(found)] == [0.1] * 4

    many = dataclasses.replace(settings, batch_size=10_000)
    found = recalibrated(flow, part, many, 0)
    norm = running(found)[0]
    inputs = []
    handle = dict(found.named_modules())[
        next(name for name, module in found.named_modules() if module is norm)
    ].register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    log_likelihoods(found, noisy(part, 0, "train"))
    handle.remove()
    torch.testing.assert_close(norm.running_mean, inputs[0].mean(0), atol=0.02, rtol=0.05)


def test_recalibration_goes_through_random_batches_once(run, digits, monkeypatch):
    """Both classes in each batch; the running mean is the plain mean over all batches."""
    settings = dataclasses.replace(cell(), batch_size=32)
    flow, part = best_flow(settings, run, digits), pair_parts(settings, digits)["train"]
    batches, inputs = [], []

    def recorded(*args):
        batches.extend(make_batches(*args))
        return batches

    monkeypatch.setattr("bnblind.experiments.flows.judging.make_batches", recorded)
    norm = running(flow)[0]
    norm.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))  # copied, too
    found = running(recalibrated(flow, part, settings, 0))[0]
    assert sorted(i for batch in batches for i in batch) == list(range(len(part.labels)))
    assert all(0 < part.labels[batch].float().mean() < 1 for batch in batches)
    assert len(inputs) == len(batches) > 3
    mean = torch.stack([x.mean(0) for x in inputs]).mean(0)
    torch.testing.assert_close(found.running_mean, mean)


def test_pairs_are_of_the_first_and_the_second_class(digits):
    part = pair_parts(cell(), digits)["test"]
    first, second = draw_pairs(part, 50, torch.Generator().manual_seed(0))
    assert part.labels[first].tolist() == [1] * 50
    assert part.labels[second].tolist() == [0] * 50


def test_mixed_images_end_at_the_real_ones_with_the_same_noise(digits):
    part = pair_parts(cell(), digits)["test"]
    pairs = ((part.labels == 1).nonzero().flatten()[:3], (part.labels == 0).nonzero().flatten()[:3])

    def mixed(share):
        return mixed_images(part, share, pairs, torch.Generator().manual_seed(0))

    noise = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        mixed(1.0) * 17 - noise, part.pixels[pairs[0]].float(), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        mixed(0.0) * 17 - noise, part.pixels[pairs[1]].float(), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(mixed(0.5), (mixed(0.0) + mixed(1.0)) / 2, atol=1e-6, rtol=0)


def test_the_probability_of_telling():
    real, mixed = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 2.0])
    assert probability_of_telling(real, mixed) == pytest.approx(4.5 / 6)
    assert probability_of_telling(mixed - 10, real) == 0


def test_a_run_is_judged_with_both_kinds_of_statistics(run, digits):
    rows, samples = evaluate_run(cell(), run, digits)
    keys = [(row["metric"], row.get("share")) for row in rows]
    assert len(keys) == len(set(keys))
    found = dict(zip(keys, (row["value"] for row in rows), strict=True))
    for part in ("validation", "test"):
        for kind in ("plain", "recalibrated"):
            name = f"{part}.{kind}"
            assert all((f"{name}.mixed.mean", share) in found for share in SHARES)
            gap = found[f"{name}.real.mean", None] - found[f"{name}.mixed.mean", 0.5]
            assert found[f"{name}.gap", 0.5] == pytest.approx(gap)
            assert 0 <= found[f"{name}.auc", 0.5] <= 1
    assert found["test.plain.real.mean", None] != found["test.recalibrated.real.mean", None]
    assert {kind: tuple(images.shape) for kind, images in samples.items()} == {
        "plain": (4, 1, 8, 8),
        "recalibrated": (4, 1, 8, 8),
    }
    assert all(0 <= images.min() <= images.max() <= 1 for images in samples.values())


def test_without_running_averages_both_kinds_are_the_same(digits):
    settings = cell(norm="ln", coupling_norm="none", epochs=1)
    rows, samples = evaluate_run(settings, train(settings, 0, digits), digits)
    by_kind = {
        kind: [(r["metric"].replace(kind, ""), r["value"]) for r in rows if kind in r["metric"]]
        for kind in ("plain", "recalibrated")
    }
    assert by_kind["plain"] == by_kind["recalibrated"]
    assert torch.equal(samples["plain"], samples["recalibrated"])


def test_test_images_are_judged_and_nothing_else(run, digits):
    """Other test images change the numbers of the test part only: neither the validation part's
    nor the recalibrated statistics, which come from training images.
    """
    part = digits.test
    others = dataclasses.replace(digits, test=dataclasses.replace(part, pixels=part.pixels.flip(3)))
    found = [
        {
            (row["metric"], row.get("share")): row["value"]
            for row in evaluate_run(cell(), run, data)[0]
        }
        for data in (digits, others)
    ]
    first, second = found
    for key in first:
        if key[0].startswith("validation."):
            assert first[key] == second[key]
    for kind in ("plain", "recalibrated"):
        key = (f"test.{kind}.real.mean", None)
        assert first[key] != second[key]
