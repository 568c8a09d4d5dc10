"""Penultimate features: the right tensor, the right numbers, and the model left as it was."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from bnblind import BadInput
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks import separability
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.evaluation import evaluate
from bnblind.experiments.networks.models import build_model
from bnblind.experiments.networks.separability import (
    classifier_of,
    embed,
    linear_probe,
    measures,
    modes_of,
    nearest_class_mean,
    penultimate,
    silhouette,
)
from bnblind.experiments.networks.training import NetworkTrainer
from bnblind.experiments.runs import Run
from bnblind.pipeline.formats.prepared import dataset_bytes
from bnblind.pipeline.formats.weights import weights_bytes
from bnblind.pipeline.steps import measure_features as step
from tests.helpers.networks import FOR_DIGITS
from tests.helpers.norms import FOR_VECTORS
from tests.helpers.parts import scaled_part, some
from tests.helpers.training import finished

BATCH_DEPENDENT = {"bn", "bn_center", "bn_scale", "bn_detached"}
"""Among the norms of the results; further ones need no entry."""


def network(model: str, norm: str, data: Dataset) -> nn.Module:
    """Random weights, and running statistics of the training images, not those of any batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = build_model(model, norm, data.input_shape, data.classes)
        with torch.no_grad():
            built.train()(data.train.images)
    return built.eval()


def clusters(seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """60 features in R^5 of 4 classes of unequal sizes around random means."""
    draw = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2, 3], [10, 15, 30, 5])
    means = 2 * np.random.default_rng(0).normal(size=(4, 5))
    order = draw.permutation(60)
    return (means[labels] + spread * draw.normal(size=(60, 5)))[order], labels[order]


@pytest.mark.parametrize("model", FOR_DIGITS)
def test_the_classifier_makes_the_logits_of_the_features(model: str, digits: Dataset) -> None:
    built, part = network(model, "bn", digits), digits.test
    found = penultimate(built, part, "eval", 16, seed=0)
    assert found.shape == (len(part.labels), classifier_of(built).in_features)
    with torch.no_grad():
        torch.testing.assert_close(classifier_of(built)(found), built(part.images))


@pytest.mark.parametrize("mode", ["eval", "random", "label"])
def test_features_are_those_whose_accuracy_is_evaluated(mode: str, digits: Dataset) -> None:
    """In the part's own order, not that of the batches."""
    built, part = network("head", "bn", digits), digits.test
    logits = classifier_of(built)(penultimate(built, part, mode, 16, seed=3))
    _, accuracy = evaluate(built, part, mode, 16, seed=3)
    assert (logits.argmax(1) == part.labels).double().mean().item() == pytest.approx(accuracy)


def test_nothing_is_dropped_out_of_measured_features(digits: Dataset) -> None:
    """Else they would hang on what random numbers were drawn before."""
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 10))
    found = [penultimate(model, digits.test, "random", 16, seed=0) for _ in range(2)]
    assert torch.equal(*found)


@pytest.mark.parametrize("norm", FOR_VECTORS)
def test_a_mode_of_its_own_only_where_features_depend_on_the_batch(
    norm: str, digits: Dataset
) -> None:
    built = network("head", norm, digits)
    plain, in_batches = (
        penultimate(built, digits.test, mode, 16, seed=0) for mode in ("eval", "random")
    )
    far = (plain - in_batches).abs().max() > 1e-3
    assert modes_of(built) == (("eval", "random") if far else ("eval",))
    assert far or norm not in BATCH_DEPENDENT


@pytest.mark.parametrize("mode", ["eval", "random", "label"])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_bitwise_as_it_was(mode: str, training: bool, digits: Dataset) -> None:
    built = network("conv", "bn", digits).train(training)
    built[1].train(not training)  # a module whose mode differs from its parent's
    state = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    modes = [module.training for module in built.modules()]
    rng = torch.get_rng_state()
    penultimate(built, digits.test, mode, 16, seed=0)
    assert all(torch.equal(tensor, state[name]) for name, tensor in built.state_dict().items())
    assert [module.training for module in built.modules()] == modes
    assert not classifier_of(built)._forward_pre_hooks
    assert all(p.grad is None for p in built.parameters())
    assert torch.equal(torch.get_rng_state(), rng)


def test_the_hook_is_gone_after_an_error(digits: Dataset) -> None:
    built = network("head", "bn", digits)
    with pytest.raises(RuntimeError):
        penultimate(
            built, scaled_part(digits.test.images[..., :7], digits.test.labels), "eval", 16, 0
        )
    assert not classifier_of(built)._forward_pre_hooks


def test_a_network_without_a_linear_layer_has_no_such_features() -> None:
    with pytest.raises(BadInput, match="Sequential has no linear layer"):
        classifier_of(nn.Sequential(nn.Conv2d(1, 2, 3)))


def test_silhouette_is_rousseeuws() -> None:
    """By his definition: (b - a) / max(a, b), a and b mean distances to the own and the nearest
    other class.
    """
    points, labels = clusters(1)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    each = []
    for i, own in enumerate(labels):
        to = {c: distance[i, labels == c].sum() for c in range(4)}
        a = to[own] / ((labels == own).sum() - 1)
        b = min(to[c] / (labels == c).sum() for c in range(4) if c != own)
        each.append((b - a) / max(a, b))
    assert silhouette(points, labels) == pytest.approx(np.mean(each), rel=1e-12)


def test_nearest_class_mean_by_hand() -> None:
    """Far from the origin, where the length of a class mean matters."""
    train, train_labels = clusters(1, spread=3.0)
    test, test_labels = clusters(2, spread=3.0)
    train, test = train + 20, test + 20
    right = 0
    for point, label in zip(test, test_labels, strict=True):
        gaps = [np.linalg.norm(point - train[train_labels == c].mean(0)) for c in range(4)]
        right += int(np.argmin(gaps) == label)
    assert 20 < right < 60
    assert nearest_class_mean(train, train_labels, test, test_labels) == right / 60


def test_class_means_need_no_labels_from_0() -> None:
    train, labels = clusters(1)
    assert nearest_class_mean(train, labels, train, labels) == nearest_class_mean(
        train, labels + 7, train, labels + 7
    )


def test_the_probe_is_the_minimum_of_the_penalized_cross_entropy() -> None:
    """Against an independent minimizer of the same objective, Newton's method in torch."""
    train, train_labels = clusters(1, spread=3.0)
    test, test_labels = clusters(2, spread=3.0)
    accuracy, converged = linear_probe(train, train_labels, test, test_labels)
    assert converged
    mean, std = train.mean(0), train.std(0)
    x, y = torch.tensor((train - mean) / std), torch.tensor(train_labels)

    def logits(theta: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return points @ theta[:20].view(5, 4) + theta[20:]

    def objective(theta: torch.Tensor) -> torch.Tensor:
        penalty = theta[:20].square().sum() / 2
        return penalty + nn.functional.cross_entropy(logits(theta, x), y, reduction="sum")

    theta = torch.zeros(24, dtype=torch.float64)
    for _ in range(30):
        hessian = torch.autograd.functional.hessian(objective, theta) + 1e-10 * torch.eye(24)
        theta = theta - torch.linalg.solve(hessian, torch.func.grad(objective)(theta))
    assert torch.func.grad(objective)(theta).norm() < 1e-9
    found = logits(theta, torch.tensor((test - mean) / std)).argmax(1).numpy()
    assert 0.4 < accuracy < 0.95
    assert accuracy == (found == test_labels).mean()


def test_a_probe_that_was_stopped_early_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separability, "PROBE_STEPS", 2)
    points, labels = clusters(1, spread=3.0)
    with pytest.warns(UserWarning, match="failed to converge"):
        assert not linear_probe(points, labels, points, labels)[1]


def test_the_order_of_the_samples_changes_nothing() -> None:
    train, train_labels = clusters(1, spread=2.0)
    test, test_labels = clusters(2, spread=2.0)
    draw = np.random.default_rng(5)
    p, q = draw.permutation(60), draw.permutation(60)
    given = (train, train_labels, test, test_labels)
    shuffled = (train[p], train_labels[p], test[q], test_labels[q])
    assert silhouette(test[q], test_labels[q]) == pytest.approx(
        silhouette(test, test_labels), rel=1e-12
    )
    assert nearest_class_mean(*shuffled) == nearest_class_mean(*given)
    assert linear_probe(*shuffled) == linear_probe(*given)


def test_features_that_collapsed_to_a_point_hold_no_class() -> None:
    """A network whose units all died: chance, and no crash."""
    points, labels = np.full((60, 5), 0.3), np.arange(60) % 4
    assert silhouette(points, labels) == 0
    assert nearest_class_mean(points, labels, points, labels) == 0.25
    assert linear_probe(points, labels, points, labels) == (0.25, True)
    assert not embed(points, seed=0).any()


def test_test_features_play_no_part_in_class_means_and_probe(digits: Dataset) -> None:
    built = network("head", "ln", digits)
    found = measures(built, digits, "eval", 16, seed=0)
    half = some(digits.test, slice(180))
    rest = some(digits.test, slice(180, None))
    split = [
        measures(built, Dataset(digits.train, half, part), "eval", 16, 0) for part in (half, rest)
    ]
    for metric in ("ncm", "probe"):
        pooled = (180 * split[0][metric] + len(rest.labels) * split[1][metric]) / 359
        assert pooled == pytest.approx(found[metric])


@pytest.mark.parametrize("mode", ["eval", "random", "label"])
def test_measures_are_of_the_features_in_their_mode(mode: str, digits: Dataset) -> None:
    built = network("head", "bn", digits)
    train, test = (
        penultimate(built, part, mode, 64, seed=4).double().numpy()
        for part in (digits.train, digits.test)
    )
    labels = digits.train.labels.numpy(), digits.test.labels.numpy()
    found = measures(built, digits, mode, 64, seed=4)
    assert found["silhouette"] == silhouette(test, labels[1])
    assert found["ncm"] == nearest_class_mean(train, labels[0], test, labels[1])


def test_tsne_keeps_clusters_together_and_is_the_same_again() -> None:
    points, labels = clusters(1, spread=0.1)
    first, again = embed(points, 0), embed(points, 0)
    assert first.shape == (60, 2)
    assert silhouette(first, labels) > 0.5
    assert np.array_equal(first, again)
    with pytest.raises(BadInput, match="more than 30 samples; found 30"):
        embed(points[:30], 0)


CELL = NetworkCell(
    **{"dataset": "digits", "model": "head", "norm": "bn", "batching": "label", "lr": 0.01},
    **{"batch_size": 64, "epochs": 2, "seeds": (3, 4), "snapshots": (1,)},
    optimizer={"name": "sgd"},
)


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    """A part of the digits: most of the time goes into the probes, which grow with the images."""
    parts = (digits.train, digits.validation, digits.test)
    train, validation, test = (
        part.first(count) for part, count in zip(parts, (320, 64, 160), strict=True)
    )
    return Dataset(train, validation, test)


@pytest.fixture(scope="module")
def trained(few: Dataset) -> list[Run]:
    return [finished(NetworkTrainer(CELL, seed, few)) for seed in CELL.seeds]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, few: Dataset, trained: list[Run]):
    """A trained cell, and its features written twice."""
    folder = tmp_path_factory.mktemp("features")
    (folder / "prepared").write_bytes(dataset_bytes(few, {}))
    (folder / "weights").write_bytes(weights_bytes([(CELL, run) for run in trained]))
    settings = {"tsne": {"norms": ["bn"], "seed": 3, "samples": 100}}
    for name in ("first", "second"):
        step.main(
            [
                *("--settings", json.dumps(settings), "--prepared", str(folder / "prepared")),
                *("--weights", str(folder / "weights")),
                *("--measures", str(folder / f"{name}.m"), "--plane", str(folder / f"{name}.p")),
                *("--checkpoint", str(folder / "checkpoint")),
            ]
        )
    return folder


def test_no_more_images_than_a_chunk_go_through_a_network_at_once(few: Dataset) -> None:
    model, cell, seen = network("head", "ln", few), replace(CELL, chunk=50), list[int]()
    model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    step.plane_rows(model, few.test, cell, 0)
    assert max(seen) == 50
    step.measure_rows(model, few, cell, 0)
    assert max(seen) == 50


def test_two_runs_write_the_same_bytes(folder) -> None:
    for kind in ("m", "p"):
        first, second = (
            hashlib.sha256((folder / f"{n}.{kind}").read_bytes()).hexdigest()
            for n in ("first", "second")
        )
        assert first == second


def test_the_table_holds_each_network_at_the_start_and_at_the_end(
    folder, few: Dataset, trained: list[Run]
) -> None:
    table = pd.read_parquet(folder / "first.m")
    keys = [*CELL.identity, "seed", "epoch", "mode", "metric"]
    assert keys[:5] == ["dataset", "model", "norm", "batching", "lr"]
    assert table.columns.tolist() == [*keys, "value"]
    assert not table.duplicated(keys).any()
    assert len(table) == 2 * 2 * 2 * 4  # seeds, epochs, modes, metrics
    assert set(table["epoch"]) == {0, 2}
    assert table["value"].between(-1, 1).all()
    model = build_model("head", "bn", few.input_shape, few.classes)
    model.load_state_dict(trained[1].weights[2])
    expected = measures(model, few, "random", 64, seed=4)
    found = table.set_index(["seed", "epoch", "mode", "metric"])["value"]
    assert {m: found[4, 2, "random", m] for m in expected} == expected


def test_fewer_images_can_be_measured(few: Dataset, digits: Dataset) -> None:
    part = step.measured_part(digits, 100)
    assert len(part.train) == len(part.test) == 100
    assert torch.equal(part.test.pixels, digits.test.pixels[:100])
    assert step.measured_part(few, None).train.labels.tolist() == few.train.labels.tolist()


def test_the_plane_holds_the_chosen_networks_alone(folder, digits: Dataset) -> None:
    plane = pd.read_parquet(folder / "first.p")
    assert set(plane["seed"]) == {3}
    assert set(plane["epoch"]) == {2}
    assert plane["sample"].tolist() == list(range(100))
    assert plane["label"].tolist() == digits.test.labels[:100].tolist()
