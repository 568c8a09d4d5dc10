"""Figures of how training ended: causes, remedies, GANs and federations."""

from itertools import product

import pandas as pd
import pytest
import torch

from bnblind.figures.causes import PASSES, causal_figure, causes_table
from bnblind.figures.federated import accuracies_figure, accuracies_table
from bnblind.figures.gan import (
    blocked_figure,
    distances_figure,
    distances_table,
    samples_figure,
    shown_samples,
)
from bnblind.figures.outcomes import outcomes
from bnblind.figures.remedies import blocks, forward_passes, remedies_figure, remedies_table
from bnblind.figures.style import COLUMN, use_style
from bnblind.norms import norm_class, norm_names

ACCURACY = "test.eval.accuracy"


@pytest.fixture(autouse=True)
def style() -> None:
    use_style()


def network_runs(norms: list[str], decays: tuple[float, ...] = (0.01,)) -> pd.DataFrame:
    """Five epochs; accuracy is epoch / 10 + seed / 100; the second norm's seed 2 diverged at 3."""
    rows = []
    for norm, batching, decay, seed in product(norms, ("label", "random"), decays, (0, 1, 2)):
        lost = norm == norms[1] and seed == 2 and batching == "label"
        key = ("digits", "head", norm, batching, 0.01, decay, seed)
        rows += [
            (*key, epoch, ACCURACY, epoch / 10 + seed / 100) for epoch in range(1, 3 if lost else 6)
        ]
        rows += [(*key, 3, "diverged", 1.0)] * lost
        rows += [(*key, e, "features.between_within", 1.0 + e) for e in (0, 5)]
        rows += [
            (*key, e, f"features.{n}", 2.0) for e in (0, 5) for n in ("squared_mean", "variance")
        ]
        rows += [(*key, e, "blocked", 0.9) for e in (0, 5)]
    columns = ["dataset", "model", "norm", "batching", "lr", "weight_decay", "seed"]
    return pd.DataFrame(rows, columns=[*columns, "epoch", "metric", "value"])


def test_an_outcome_is_the_mean_of_the_last_three_epochs_or_chance() -> None:
    found = outcomes(network_runs(["none", "bn"]), 0.1)
    assert len(found) == 12
    lost = found[found["diverged"]]
    assert lost[["norm", "batching", "seed", "value"]].values.tolist() == [["bn", "label", 2, 0.1]]
    kept = found[~found["diverged"]]
    assert kept["value"].tolist() == pytest.approx((0.4 + kept["seed"] / 100).tolist())


@pytest.mark.parametrize("last", [1, 3])
def test_a_run_that_diverged_before_it_was_measured_is_not_forgotten(last: int) -> None:
    """Where only the last epochs are measured, nothing else tells of it."""
    runs = network_runs(["none", "bn"])
    early = (runs["norm"] == "bn") & (runs["seed"] == 2) & (runs["batching"] == "label")
    found = outcomes(runs[~early | (runs["metric"] == "diverged")], 0.1, last=last)
    assert len(found) == 12
    lost = found[found["diverged"]]
    assert lost[["norm", "batching", "seed", "value"]].values.tolist() == [["bn", "label", 2, 0.1]]
    assert not found["value"].isna().any()


def test_every_pass_is_a_row_and_every_seed_a_mark() -> None:
    """Forward passes in groups; filled with weight decay, open without; crosses: diverged."""
    runs = network_runs([*PASSES], (0.01, 0.0))
    figure, drawn = causal_figure(runs, 10)
    assert figure.get_figwidth() <= 2 * COLUMN
    assert len(drawn) == len(PASSES) * 2 * 2 * 3
    label, random = figure.axes
    assert label.get_title() != random.get_title()
    names = [tick.get_text() for tick in label.get_yticklabels()]
    assert names == [f"gradient: {backward}" for _, backward in PASSES.values()]
    means = [
        line for line in label.lines if line.get_marker() in "Do" and line.get_markersize() > 3
    ]
    assert len(means) == len(PASSES) * 2
    assert {line.get_markerfacecolor() == "white" for line in means} == {True, False}
    crosses = [line for line in label.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in crosses] == [[0.1], [0.1]]
    # Each seed lies at a height of its own.
    heights = [{*line.get_ydata()} for line in label.lines if len(line.get_xdata()) == 3]
    assert {len(own) for own in heights} == {3}
    forwards = [text.get_text() for text in label.texts if "forward" in text.get_text()]
    assert forwards == ["forward: identity", "forward: BN", "forward: running averages"]
    table = causes_table(runs, 10)
    assert len(table) == len(PASSES) * 2 * 2
    row = table[(table["backward"] == "BN's, with 1 / sigma")].iloc[0]
    assert row["test accuracy"].startswith("0.410 (")
    assert (row["between / within before"], row["between / within after"]) == (1.0, 6.0)
    second = table[(table["forward"] == "identity") & (table["backward"] == "BN's")]
    assert second["diverged"].tolist() == [1, 1, 0, 0]
    assert "diverged" not in causes_table(runs[runs["norm"] == "none"], 10), "of none that did"


def test_remedies_are_ordered_by_what_label_pure_batches_leave() -> None:
    runs = network_runs(["bn", "dyt", "ln"])
    figure, drawn = remedies_figure(runs, 10)
    assert len(drawn) == 3 * 2 * 3
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["BN", "LN", "DyT"]
    mixed = network_runs(["bn", "ln"]).assign(
        batching=lambda rows: rows["batching"].map({"label": "foreign-1", "random": "purity-0.5"})
    )
    table = remedies_table(runs, mixed, 10).set_index("norm")
    other = "BN, 1 sample of other classes per batch"
    assert table["blocks"].to_dict() == {
        **dict.fromkeys(("BN", other), "mean and scale over the batch"),
        **{"DyT": "nothing", "LN": "mean or scale within a sample"},
    }
    passes = table["passes over the features"].to_dict()
    assert passes == {"BN": 2, other: 2, "LN": 2, "DyT": 1}
    assert table["label-pure batches"].to_dict()[other].startswith("0.410 (")
    assert table["diverged"].to_dict() == {"BN": "0", "DyT": "1", "LN": "0", other: ""}
    assert "diverged" not in remedies_table(runs[runs["norm"] == "ln"], mixed, 10)


PASSES_OVER = {
    **dict.fromkeys(("none", "identity_blocked", "identity_blocked_scaled", "identity_zeroed"), 0),
    **dict.fromkeys(("bn_affine", "bn_frozen", "dyt"), 1),
}
"""Over the features, forward; of the other norms two."""


@pytest.mark.parametrize(
    "name", [name for name in norm_names() if not name.endswith(("_detached", "_zeroed"))]
)
def test_what_a_norm_blocks_is_said_as_its_gradient_shows(name: str) -> None:
    """Of a gradient that all samples share, and of one along the features."""
    assert forward_passes(name) == PASSES_OVER.get(name, 2)
    if norm_class(name).needs_positions:
        pytest.skip("defined for images only")
    norm = norm_class(name)((6,), 0.0).double().train()
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    y = norm.standardize(x)

    def stopped(gradient: torch.Tensor) -> bool:
        (before,) = torch.autograd.grad(y, x, gradient, retain_graph=True)
        return bool(before.abs().max() < 1e-9)

    z = (x - x.mean(0)).detach()
    shared, along = stopped(torch.ones_like(y)), stopped(z / z.square().mean(0).sqrt())
    said = {
        "mean and scale over the batch": (True, True),
        "mean over the batch": (True, False),
        "scale over the batch": (False, True),
        "nothing": (False, False),
    }
    if name in ("ln", "gn", "rms"):  # each sample by itself
        assert blocks(name) == "mean or scale within a sample"
    else:
        assert said[blocks(name)] == (shared, along)


def gan_runs() -> pd.DataFrame:
    rows = []
    for norm, feed, seed in product(("bn", "ln"), ("apart", "mixed"), (0, 1, 2)):
        key = ("digits", norm, feed, seed)
        rows += [(*key, epoch, "test.frechet", 100.0 / (epoch + 1) + seed) for epoch in (0, 9)]
        rows += [(*key, 0, "real.frechet", 0.5)]
        if norm == "bn":
            rows += [(*key, epoch, "discriminator.blocked", 0.9 - epoch / 10) for epoch in (0, 9)]
    columns = ["dataset", "norm", "feed", "seed", "epoch", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_distances_are_those_after_training() -> None:
    figure, drawn = distances_figure(gan_runs())
    assert sorted(drawn["value"].unique()) == [10.0, 11.0, 12.0]
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names == ["BN, apart", "BN, mixed", "LN, apart", "LN, mixed"]
    table = distances_table(gan_runs())
    assert table["Fréchet distance"].tolist() == ["11.0 (8.5 to 13.5)"] * 4
    assert table["blocked before training"].tolist()[:2] == pytest.approx([0.9, 0.9])
    assert table["blocked after training"].isna().tolist() == [False, False, True, True]
    figure, drawn = blocked_figure(gan_runs())
    assert set(drawn["norm"]) == {"bn"}
    assert len(figure.axes) == 2


def test_the_first_seeds_images_are_shown() -> None:
    def images(value: float) -> torch.Tensor:
        return torch.full((4, 1, 8, 8), value)

    cells = {"random-apart": {"norm": "bn", "feed": "apart"}}
    tensors = {"random-apart/seed11/generated": images(0.5)}
    tensors |= {"random-apart/seed9/generated": images(0.25)}
    shown = shown_samples([(tensors, {"cells": cells})])
    assert [*shown] == [("bn", "apart")]
    assert shown["bn", "apart"].max() == 0.25
    figure, drawn = samples_figure(shown)
    assert drawn["mean"].tolist() == [0.25]
    assert figure.axes[0].get_title() == "BN, apart"


def test_federations_are_drawn_by_classes_per_client() -> None:
    rows = [
        (
            "digits",
            "mlp",
            norm,
            count,
            seed,
            epoch,
            metric,
            0.5 + (metric + norm == f"{ACCURACY}bn"),
        )
        for norm, count, seed in product(("bn", "ln"), (1, 10), (0, 1, 2))
        for epoch in (1, 2, 3, 4)
        for metric in (ACCURACY, "test.recalibrated.accuracy")
    ]
    columns = ["dataset", "model", "norm", "classes_per_client", "seed", "epoch", "metric", "value"]
    runs = pd.DataFrame(rows, columns=columns)
    figure, drawn = accuracies_figure(runs, 10)
    assert len(drawn) == 3 * 2 * 3  # recalibration makes no difference to LN
    assert [axes.get_title() for axes in figure.axes] == [
        "1 class per client",
        "10 classes per client",
    ]
    table = accuracies_table(runs, 10)
    assert table[["norm", "statistics"]].values.tolist() == [
        ["BN", "as averaged"],
        ["BN", "recalibrated"],
        ["LN", "as averaged"],
    ]
