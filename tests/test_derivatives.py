"""The derivative analysis: batches, restored networks, and what its rows say."""

import pandas as pd
import pytest
import torch

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.derivatives import (
    Probing,
    constant_share,
    describe,
    norm_layers,
    split_at,
    trained_model,
)
from bnblind.experiments.models import build_model
from bnblind.figures.derivatives import (
    FLOOR,
    blocked_by_layer,
    cosines,
    passing_by_constancy,
    passing_table,
    terms_along_training,
)
from bnblind.norms import NORMS, freeze_statistics
from bnblind.split import PARTS

PROBING = Probing(("label", "random"), 32, 2, 4)


def network(model: str, norm: str, data: Dataset) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = build_model(model, norm, data.input_shape, data.classes)
    freeze_statistics(built, data.train.images)
    return trained_model(model, norm, data, built.state_dict()).double()


def first_batch(data: Dataset, batching: str) -> tuple[torch.Tensor, torch.Tensor]:
    _, _, images, labels = next(Probing((batching,), 32, 1, 4).draw(data.train, 10))
    return images.double(), labels


def test_batches_are_whole_pure_where_asked_and_the_same_again(digits: Dataset) -> None:
    drawn = list(PROBING.draw(digits.train, 10))
    assert [(name, number) for name, number, _, _ in drawn] == [
        *(("label", 0), ("label", 1), ("random", 0), ("random", 1))
    ]
    assert all(len(images) == 32 for _, _, images, _ in drawn)
    assert [len(labels.unique()) == 1 for *_, labels in drawn] == [True, True, False, False]
    again, other = PROBING.draw(digits.train, 10), PROBING.draw(digits.train, 11)
    assert all(torch.equal(a[2], b[2]) for a, b in zip(drawn, again, strict=True))
    assert not any(torch.equal(a[2], b[2]) for a, b in zip(drawn, other, strict=True))


def test_running_statistics_are_those_of_the_training_images(digits: Dataset) -> None:
    model = network("conv", "bn", digits)
    images = digits.train.images.double()
    before = model[0](images)
    torch.testing.assert_close(model[1].running_mean, before.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert model.training
    assert model[1].momentum == type(model[1]).momentum


@pytest.mark.parametrize("norm", [name for name in NORMS if name != "in"])
def test_rows_of_the_head_network(norm: str, digits: Dataset) -> None:
    """One norm before a linear layer: T1 to T3 on label-pure batches of real images."""
    model = network("head", norm, digits)
    (layer,) = norm_layers(model)
    row = describe(split_at(model, layer, *first_batch(digits, "label"), 4), model[4])
    sums = [row[f"y.{part}.total"] for part in PARTS[:-1]]
    assert sum(sums) == pytest.approx(row["y.total.total"], rel=1e-9)
    blocked = {"bn": {"first"}, "bn_center": {"first"}}.get(norm, set())
    for part in ("first", "offdiag"):
        assert (row[f"passing.{part}"] < 1e-20) == (part in blocked)
    if norm == "bn":
        assert row["passing.diag"] < 1e-3
        for part in PARTS:
            shares = [row[f"{name}.{part}"] for name in ("mean", "scale", "passing")]
            assert sum(shares) == pytest.approx(1, abs=1e-9)
    if norm in ("none", "bn_affine", "bn_detached", "bn_frozen"):
        assert row["passing.total"] == pytest.approx(1, abs=1e-9)


def test_the_first_order_term_passes_on_random_batches(digits: Dataset) -> None:
    model = network("head", "bn", digits)
    row = describe(split_at(model, "4", *first_batch(digits, "random"), 4), model[4])
    assert row["passing.first"] > 0.5


def test_later_batch_norms_are_frozen_and_curved_rest_is_estimated(digits: Dataset) -> None:
    batch = first_batch(digits, "label")
    layers = norm_layers(network("conv", "bn", digits))
    methods = {
        norm: [split_at(network("conv", norm, digits), name, *batch, 4).method for name in layers]
        for norm in ("bn", "ln")
    }
    assert ["running statistics" in method for method in methods["bn"]] == [True, True, False]
    assert ["Hutchinson" in method for method in methods["ln"]] == [True, True, False]


def test_constant_share() -> None:
    rows = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[1.0, -1.0], [1.0, -1.0]]])
    assert constant_share(rows, by_sample=False) == pytest.approx(0.5)
    assert constant_share(torch.randn(5), by_sample=False) == pytest.approx(1)
    both = torch.stack([torch.ones(3), -torch.ones(3)])
    assert constant_share(both, by_sample=True) == pytest.approx(0)


@pytest.fixture
def terms(digits: Dataset) -> pd.DataFrame:
    model, rows = network("head", "bn", digits), []
    for epoch in (0, 3):
        for batching, number, images, labels in PROBING.draw(digits.train, epoch):
            row = describe(split_at(model, "4", images.double(), labels, 4), model[4])
            key = {"norm": "bn", "batching": "label", "seed": 0, "epoch": epoch, "layer": "4"}
            rows.append({**key, "probed": batching, "batch": number, **row})
    return pd.DataFrame(rows)


def test_undefined_points_are_not_drawn(terms: pd.DataFrame) -> None:
    spoiled = terms.assign(kinks=[1, *[0] * (len(terms) - 1)])
    spoiled.loc[0, [c for c in terms if c.startswith(("y.", "passing"))]] = 1e9
    _, drawn = terms_along_training(spoiled)
    assert drawn["arrives"].max() < 100
    assert passing_by_constancy(spoiled.assign(place="head"))[1]["passing"].max() < 2
    assert passing_table(spoiled.assign(epoch=0))["first order"].max() < 1


def test_the_lengths_drawn_are_those_of_the_gram_matrix(terms: pd.DataFrame) -> None:
    _, drawn = terms_along_training(terms)
    row = drawn.set_index(["probed", "term", "epoch"]).loc[("label", "first", 0)]
    chosen = terms[(terms["probed"] == "label") & (terms["epoch"] == 0)]
    length = (chosen["y.first.first"] / chosen["y.total.total"]) ** 0.5
    assert row["arrives"] == pytest.approx(length.median())
    assert row["passes"] < 1e-12 < 0.1 < row["arrives"]
    assert FLOOR < 1e-12


def test_cosines_lie_between_minus_one_and_one(terms: pd.DataFrame) -> None:
    table = cosines(terms)
    values = table.drop(columns=["layer", "where", "term"]).stack()
    assert values.abs().max() <= 1 + 1e-9
    assert set(table["where"]) == {"after the norm", "before it"}


def test_blocked_shares_are_averaged_by_layer_and_epoch() -> None:
    rows = [
        ("a", seed, epoch, "label", 0.2 + 0.2 * seed, 0.1, 0.7 - 0.2 * seed)
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    ]
    columns = ["layer", "seed", "epoch", "probed", "mean_share", "scale_share", "passing"]
    _, drawn = blocked_by_layer(pd.DataFrame(rows, columns=columns))
    assert drawn["epoch"].tolist() == [0, 2]
    assert drawn["mean_share"].tolist() == pytest.approx([0.3, 0.3])
