"""The derivative analysis: batches, restored networks, and what its rows say."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from bnblind import BadInput, blocked, split_head, standardize
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.splitting import (
    Probing,
    describe,
    split_at,
    trained_model,
)
from bnblind.experiments.networks.training import NetworkTrainer, initial_model
from bnblind.figures.derivatives import (
    blocked_by_layer,
    blocked_by_term,
    cosines,
    passing_table,
    readings_along_training,
    terms_along_training,
)
from bnblind.layers import normalization_layers
from bnblind.pipeline.formats.prepared import dataset_bytes
from bnblind.pipeline.formats.weights import weights_bytes
from bnblind.pipeline.steps import split_networks as step
from bnblind.split import PARTS
from tests.helpers.norms import FOR_VECTORS
from tests.helpers.training import finished
from tests.library.test_blocking import BLOCKED

PROBING = Probing(("label", "random"), 32, 2)

NAMES = ("prepared", "weights", "terms", "blocked", "checkpoint")
"""Of the step's files."""


def cell(model: str, norm: str, seeds: tuple[int, ...] = (0,)) -> NetworkCell:
    return NetworkCell(
        **{"dataset": "digits", "model": model, "norm": norm, "batching": "label", "lr": 0.01},
        **{"batch_size": 64, "epochs": 1, "seeds": seeds, "snapshots": ()},
        optimizer={"name": "sgd"},
    )


def network(model: str, norm: str, data: Dataset) -> torch.nn.Module:
    settings = cell(model, norm)
    weights = initial_model(settings, 0, data).state_dict()
    return trained_model(settings, data, weights).double()


def first_batch(data: Dataset, batching: str) -> tuple[torch.Tensor, torch.Tensor]:
    _, _, images, labels = next(Probing((batching,), 32, 1).draw(data.train, 10))
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


@pytest.mark.parametrize("norm", FOR_VECTORS)
def test_rows_of_the_head_network(norm: str, digits: Dataset) -> None:
    """One norm before a linear layer: T1 to T3 on label-pure batches of real images."""
    model = network("head", norm, digits)
    (layer,) = normalization_layers(model)
    row = describe(split_at(model, layer, *first_batch(digits, "label")), model[4])
    for part in ("first", "offdiag"):
        assert (row[f"passing.{part}"] < 1e-20) == (part in BLOCKED[norm])
    if norm == "bn":
        assert row["passing.diag"] < 1e-3
        second = row["y.diag.diag"] + 2 * row["y.diag.offdiag"] + row["y.offdiag.offdiag"]
        passes = row["passing.offdiag"] * row["y.offdiag.offdiag"]
        assert row["passing.second"] * second == pytest.approx(passes, rel=1e-2)
        for part in PARTS:
            shares = [row[f"{name}.{part}"] for name in ("mean", "scale", "passing")]
            assert sum(shares) == pytest.approx(1, abs=1e-9)
    if norm in ("none", "bn_affine", "bn_detached", "bn_frozen"):
        assert row["passing.total"] == pytest.approx(1, abs=1e-9)


def test_the_first_order_term_passes_on_random_batches(digits: Dataset) -> None:
    model = network("head", "bn", digits)
    row = describe(split_at(model, "4", *first_batch(digits, "random")), model[4])
    assert row["passing.first"] > 0.5


@pytest.mark.parametrize("batching", ["label", "random"])
def test_later_batch_norms_are_frozen_and_curved_rest_is_exact(
    batching: str, digits: Dataset
) -> None:
    batch = first_batch(digits, batching)
    layers = normalization_layers(network("conv", "bn", digits))
    splits = {
        norm: [split_at(network("conv", norm, digits), name, *batch) for name in layers]
        for norm in ("bn", "ln")
    }
    frozen = ["running statistics" in split.method for split in splits["bn"]]
    assert frozen == [True, True, False]
    methods = [split.method.split(":")[0] for split in splits["ln"]]
    assert methods == ["exact", "exact", "fused"]
    assert all(split.hdiag_se is None for split in splits["ln"])


@pytest.mark.parametrize("point", ["batch mean", "same at every position"])
def test_images_need_one_expansion_point_for_all_positions(point: str) -> None:
    """T2 for images: a diagonal quadratic loss with the same H everywhere, eps = 0."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 4, 4, generator=generator, dtype=torch.float64)
    y, sigma = standardize(x + torch.randn(3, 4, 4, generator=generator), 0.0)
    y0 = y.mean(0) if point == "batch mean" else torch.full((3, 4, 4), 0.7)
    H = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)[:, None, None]

    def quadratic(rows: torch.Tensor) -> torch.Tensor:
        return (0.5 * H * rows.square()).flatten(1).sum(1, keepdim=True)

    split = split_head(quadratic, y, torch.zeros(6), y0, sigma=sigma, loss=lambda z, _: z[:, 0])
    passing = {part: blocked(getattr(split, part), y).layer().passing for part in PARTS}
    assert passing["total"] < 1e-25
    assert (passing["diag"] < 1e-25) == (point != "batch mean")


@pytest.fixture(scope="module")
def terms(digits: Dataset) -> pd.DataFrame:
    model, rows = network("head", "bn", digits), []
    for epoch in (0, 3):
        for batching, number, images, labels in PROBING.draw(digits.train, epoch):
            row = describe(split_at(model, "4", images.double(), labels), model[4])
            key = {"norm": "bn", "batching": "label", "seed": 0, "epoch": epoch, "layer": "4"}
            rows.append({**key, "probed": batching, "batch": number, **row})
    return pd.DataFrame(rows)


def test_undefined_points_are_not_drawn(terms: pd.DataFrame) -> None:
    spoiled = terms.assign(kinks=[1, *[0] * (len(terms) - 1)])
    spoiled.loc[0, [c for c in terms if c.startswith(("y.", "passing"))]] = 1e9
    _, drawn = terms_along_training({"head": spoiled})
    assert drawn["arrives"].max() < 100
    assert blocked_by_term({"head": spoiled})[1]["passing"].max() < 2
    assert passing_table(spoiled.assign(epoch=0))["first order"].max() < 1


def test_the_lengths_drawn_are_those_of_the_gram_matrix(terms: pd.DataFrame) -> None:
    _, drawn = terms_along_training({"head": terms})
    row = drawn.set_index(["term", "epoch"]).loc[("first", 0)]
    chosen = terms[(terms["probed"] == "label") & (terms["epoch"] == 0)]
    length = (chosen["y.first.first"] / chosen["y.total.total"]) ** 0.5
    assert row["arrives"] == pytest.approx(length.mean())
    assert row["passes"] < 1e-12 < 0.1 < row["arrives"]


def test_a_further_batching_that_was_probed_is_drawn(terms: pd.DataFrame) -> None:
    more = pd.concat([terms, terms[terms["probed"] == "label"].assign(probed="purity-0.9")])
    figure, _ = readings_along_training({"head": more})
    probed = [axes.get_title().split("probed: ")[1] for axes in figure.axes]
    assert probed == ["label-pure", "random", "purity-0.9"]


def test_cosines_lie_between_minus_one_and_one(terms: pd.DataFrame) -> None:
    table = cosines(terms)
    values = table.drop(columns=["layer", "where", "term"]).stack()
    assert values.abs().max() <= 1 + 1e-9
    assert set(table["where"]) == {"after the norm", "before it"}


def test_blocked_shares_are_averaged_by_layer_and_epoch() -> None:
    rows = [
        ("a", batching, seed, epoch, "label", 0.2 + 0.2 * seed + 0.1 * (epoch > 0) * pure, 0.1, 0.7)
        for batching, pure in (("label", 1), ("random", 2))
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    ]
    shares = ["mean_share", "scale_share", "passing"]
    columns = ["layer", "batching", "seed", "epoch", "probed", *shares]
    _, drawn = blocked_by_layer({"head": pd.DataFrame(rows, columns=columns)})
    assert drawn.set_index("when")["mean_share"].to_dict() == pytest.approx(
        {
            "before training": 0.3,
            "trained on label-pure batches": 0.4,
            "trained on random batches": 0.5,
        }
    )


def test_three_readings_of_the_second_order(digits: Dataset) -> None:
    """Against the terms themselves, carried through the norm by autograd."""
    model = network("head", "bn", digits)
    images, labels = first_batch(digits, "label")
    split = split_at(model, "4", images, labels)
    row = describe(split, model[4])
    x = model[:4](images).detach().requires_grad_()
    y, sigma = standardize(x, model[4].eps)

    def passes(G: torch.Tensor) -> float:
        (before,) = torch.autograd.grad(y, x, G, retain_graph=True)
        return (sigma * before).square().sum().item()

    diag, offdiag = split.diag, split.offdiag
    parts = (passes(diag) + passes(offdiag)) / (diag.square() + offdiag.square()).sum().item()
    whole = passes(diag + offdiag) / split.total.square().sum().item()
    assert row["passing.parts"] == pytest.approx(parts, rel=1e-6)
    assert row["of_whole.second"] == pytest.approx(whole, rel=1e-6)
    assert abs(parts - row["passing.second"]) > 1e-3


def test_a_short_last_batch_is_never_drawn(digits: Dataset) -> None:
    size = len(digits.train.labels) // 2 + 1
    drawn = list(Probing(("random",), size, 5).draw(digits.train, 10))
    assert [len(labels) for *_, labels in drawn] == [size]


def test_the_line_before_the_norm_is_what_passes(terms: pd.DataFrame) -> None:
    _, drawn = terms_along_training({"head": terms})
    row = drawn.set_index(["term", "epoch"]).loc[("offdiag", 3)]
    chosen = terms[(terms["probed"] == "label") & (terms["epoch"] == 3)]
    passes = chosen["y.offdiag.offdiag"] * chosen["passing.offdiag"] / chosen["y.total.total"]
    assert row["passes"] == pytest.approx((passes**0.5).mean(), rel=1e-12)
    assert row["passes"] < row["arrives"]


def test_the_step_splits_the_networks_at_their_own_seeds_batches(
    digits: Dataset, tmp_path: Path
) -> None:
    """The same numbers as by hand, on training images as they are."""
    settings = cell("head", "bn", seeds=(3, 4))
    trained = [(settings, finished(NetworkTrainer(settings, seed, digits))) for seed in (3, 4)]
    (tmp_path / "prepared").write_bytes(dataset_bytes(digits, {}))
    (tmp_path / "weights").write_bytes(weights_bytes(trained))
    probing = {"batchings": ["random"], "batch_size": 32, "batches": 1}
    options = {name: str(tmp_path / name) for name in NAMES}
    words = [word for name, path in options.items() for word in (f"--{name}", path)]
    step.main(["--settings", json.dumps(probing), *words])
    terms = pd.read_parquet(tmp_path / "terms").set_index(["seed", "epoch"])
    shares = pd.read_parquet(tmp_path / "blocked").set_index(["seed", "epoch"])
    assert len(terms) == len(shares) == 4
    for _, run in trained:
        model = trained_model(settings, digits, run.weights[1]).double()
        ((_, _, images, labels),) = Probing(("random",), 32, 1).draw(digits.train, run.seed)
        split = split_at(model, "4", images.double(), labels)
        own = terms.loc[(run.seed, 1)]
        assert own["y.total.total"] == pytest.approx(split.total.square().sum().item(), rel=1e-12)
        assert own["y.diag.diag"] == pytest.approx(split.diag.square().sum().item(), rel=1e-12)
        passing = blocked(split.total, split.y).layer().passing.item()
        assert shares.loc[(run.seed, 1), "passing"] == pytest.approx(passing, rel=1e-9)


def test_an_interrupted_step_splits_no_network_twice(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends with the bytes of one that was not, unless what it had kept is of another job."""
    settings = cell("head", "bn", seeds=(3, 4))
    trained = [(settings, finished(NetworkTrainer(settings, seed, digits))) for seed in (3, 4)]
    (tmp_path / "prepared").write_bytes(dataset_bytes(digits, {}))
    (tmp_path / "weights").write_bytes(weights_bytes(trained))
    split_rows, split, spent = step.split_rows, list[int](), list[float]()

    def run(batches: int, stop: int = 0) -> bytes:
        def counted(*args: Any) -> Any:
            if len(split) == stop > 0:
                raise KeyboardInterrupt
            split.append(args[0]["seed"])
            return split_rows(*args)

        monkeypatch.setattr(step, "split_rows", counted)
        split.clear()
        probing = {"batchings": ["label"], "batch_size": 32, "batches": batches}
        words = [word for name in NAMES for word in (f"--{name}", str(tmp_path / name))]
        spent.append(step.main(["--settings", json.dumps(probing), *words]))
        return (tmp_path / "terms").read_bytes() + (tmp_path / "blocked").read_bytes()

    whole = run(1)
    assert len(split) == 4
    assert not [*tmp_path.glob("checkpoint*")]
    with pytest.raises(KeyboardInterrupt):
        run(1, stop=3)
    assert run(1) == whole
    assert split == [4]
    assert spent[0] == 0 < spent[1]
    with pytest.raises(KeyboardInterrupt):
        run(2, stop=3)
    assert run(1) == whole
    assert len(split) == 4, "what another job has kept was taken"


def test_batches_that_no_class_fills_are_refused(digits: Dataset) -> None:
    with pytest.raises(
        BadInput, match=r"batch_size: found 1000, at batching label; allowed: at most"
    ):
        next(Probing(("label",), 1000, 1).draw(digits.train, 0))


def test_places_run_evenly_from_the_first_norm_to_the_last() -> None:
    network = nn.Sequential(*(nn.BatchNorm1d(2) for _ in range(8)))
    places = {n: Probing(("label",), 8, 1, n).places(network) for n in (None, 2, 3, 8, 20)}
    assert places[2] == ["0", "7"]
    assert places[3] == ["0", "4", "7"]
    assert places[None] == places[8] == places[20] == [*"01234567"]


def test_the_step_leaves_out_norms_that_are_not_asked_for(digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "prepared").write_bytes(dataset_bytes(digits, {}))
    for norm in ("bn", "ln"):
        own = cell("head", norm, seeds=(3,))
        run = finished(NetworkTrainer(own, 3, digits))
        (tmp_path / norm).write_bytes(weights_bytes([(own, run)]))
    probing = {"batchings": ["label"], "batch_size": 32, "batches": 1, "norms": ["bn"]}
    options = {name: str(tmp_path / name) for name in NAMES if name != "weights"}
    words = [word for name, path in options.items() for word in (f"--{name}", path)]
    weights = ["--weights", *(str(tmp_path / norm) for norm in ("ln", "bn"))]
    step.main(["--settings", json.dumps(probing), *words, *weights])
    assert set(pd.read_parquet(tmp_path / "terms")["norm"]) == {"bn"}


def test_no_line_leaves_the_panel(terms: pd.DataFrame) -> None:
    """Also where terms nearly cancel, so that each is far longer than the whole."""
    long = terms.assign(**{"y.remainder.remainder": 1e4 * terms["y.total.total"]})
    figure, drawn = terms_along_training({"head": long})
    top = drawn[["arrives", "passes"]].to_numpy().max()
    assert top > 50
    assert all(axes.get_ylim()[1] > 1.5 * top for axes in figure.axes)
