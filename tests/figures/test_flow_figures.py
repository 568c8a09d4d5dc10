"""Figures of the flow experiment: the drawn numbers are the measured ones."""

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from bnblind.experiments.intervals import t_interval
from bnblind.figures.flows import (
    difference_table,
    gap_table,
    interpolation_curves,
    sample_grids,
    telling_figure,
    training_curves,
)
from bnblind.figures.style import COLUMN, LOOKS, use_style

KEYS = ["pair", "norm", "batching", "seed", "epoch", "metric", "share", "value"]


@pytest.fixture(autouse=True)
def style() -> None:
    use_style()


@pytest.fixture
def results() -> pd.DataFrame:
    """BN's gap is -2 and LN's +2, plus the seed; its recalibrated one is 1 higher."""
    rows = []
    for pair in ("9v8", "1v0"):
        for norm in ("ln", "bn"):
            for batching in ("random", "label"):
                for seed in (10, 11, 12):
                    run = (pair, norm, batching, seed)
                    for epoch in range(4):
                        bits = 3 - epoch + (3 if epoch == 3 else 0)
                        for part in ("train", "validation"):
                            rows.append((*run, epoch, f"{part}.bits_per_dimension", None, bits))
                    for kind, shift in (("plain", 0), ("recalibrated", 1)):
                        name = f"test.{kind}"
                        gap = (2 if norm == "ln" else -2) + seed - 11 + shift
                        rows += [
                            (*run, 2, f"{name}.gap", 0.5, gap),
                            (*run, 2, f"{name}.auc", 0.5, 0.5 + gap / 100),
                        ]
                        for share in (0.0, 0.5, 1.0):
                            rows.append((*run, 2, f"{name}.mixed.mean", share, seed + share))
    return pd.DataFrame(rows, columns=KEYS).assign(coupling_norm="scalar")


def texts(figure: Figure) -> set[str]:
    found = {t.get_text() for legend in figure.legends for t in legend.get_texts()}
    for axes in figure.axes:
        found |= {axes.get_title(), axes.get_xlabel(), axes.get_ylabel()}
    return found


def test_figures_fit_the_page_and_name_norms_and_axes(results: pd.DataFrame) -> None:
    for draw in (training_curves, interpolation_curves):
        figure, _ = draw(results)
        assert figure.get_figwidth() <= 2 * COLUMN
        assert {"BN", "LN"} <= texts(figure)
    assert "epoch" in texts(training_curves(results)[0])
    assert "9 and 8\nlog-likelihood (nats)" in texts(interpolation_curves(results)[0])
    telling, _ = telling_figure(results)
    assert telling.get_figwidth() <= 2 * COLUMN
    assert {"AUC", "gap (nats)", "classes 9 and 8"} <= texts(telling)
    assert [tick.get_text() for tick in telling.axes[0].get_yticklabels()] == ["BN", "LN"] * 2


def test_coupling_norms_have_rows_of_their_own_and_what_was_not_trained_no_panel(
    results: pd.DataFrame,
) -> None:
    other = results[(results["norm"] == "bn") & (results["batching"] == "label")]
    both = pd.concat([results, other.assign(coupling_norm="bn")])
    for draw in (training_curves, interpolation_curves):
        figure, _ = draw(both)
        named = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
        assert len(named) == 4
        assert named[1].startswith("9 and 8,\ncoupling norm BN")
        assert sum(not axes.get_visible() for axes in figure.axes) == len(figure.axes) // 4
    groups = [text.get_text() for text in telling_figure(both)[0].axes[0].texts]
    assert groups == [
        "label-pure batches,\ncoupling norm scalar",
        "label-pure batches,\ncoupling norm BN",
        "random batches,\ncoupling norm scalar",
    ]


def test_the_interpolation_line_is_the_mean_over_seeds(results: pd.DataFrame) -> None:
    figure, drawn = interpolation_curves(results)
    assert set(drawn["value"] - drawn["share"]) == {10.0, 11.0, 12.0}
    lines = {tuple(line.get_ydata()) for line in figure.axes[0].get_lines()}
    assert lines == {(11.0, 11.5, 12.0)}


def test_curves_mark_the_best_epoch_of_every_seed(results: pd.DataFrame) -> None:
    figure, drawn = training_curves(results)
    assert set(drawn["epoch"]) == {1, 2, 3}
    marked = [line for line in figure.axes[0].get_lines() if line.get_marker() in ("s", "^")]
    assert len(marked) == 6
    assert {float(line.get_xdata()[0]) for line in marked} == {2.0}


def test_gaps_are_drawn_and_tabled_with_students_interval(results: pd.DataFrame) -> None:
    figure, drawn = telling_figure(results)
    assert len(drawn) == 2 * 2 * 2 * 2 * 3 * 2
    mean, low, high = t_interval([-3.0, -2.0, -1.0])
    whiskers = [list(line.get_xdata()) for line in figure.axes[2].get_lines()]
    assert [low, high] in whiskers
    table = gap_table(results)
    told = table[["pair", "coupling norm", "batches", "statistics", "norm"]]
    first = ["9 and 8", "scalar", "random batches", "running averages", "BN"]
    assert told.iloc[0].tolist() == first
    bn = table[(table["norm"] == "BN") & (table["statistics"] == "running averages")]
    assert set(bn["real minus mixed (nats)"]) == {f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"}
    assert all(text.startswith("0.48 (") for text in bn["AUC"])


def test_differences_are_paired_by_seed(results: pd.DataFrame) -> None:
    """The seeds' common shift cancels: LN's gap is 4 nats above BN's with every seed."""
    table = difference_table(results)
    assert len(table) == 2 * 2 * 2
    assert set(table["LN minus BN (nats)"]) == {"+4.0 (+4.0 to +4.0)"}
    assert table.iloc[0]["pair"] == "9 and 8"


def test_one_seed_is_drawn_without_an_interval(results: pd.DataFrame) -> None:
    one = results[results["seed"] == 10]
    figure, _ = telling_figure(one)
    assert figure.axes[0].get_lines()
    assert set(gap_table(one)["real minus mixed (nats)"]) == {"-3.0", "-2.0", "+1.0", "+2.0"}


def test_samples_are_shown_for_every_flow_beside_training_images() -> None:
    images = {
        (norm, batching, kind): torch.full((4, 1, 8, 8), 0.25)
        for norm in ("ln", "none")
        for batching in ("label", "random")
        for kind in ("plain", "recalibrated")
    }
    other = {flow: drawn for flow, drawn in images.items() if flow[:2] == ("ln", "label")}
    real = torch.rand(4, 1, 8, 8)
    figure, drawn = sample_grids(
        {"9 and 8": images, "1 and 0": other}, dict.fromkeys(("9 and 8", "1 and 0"), real)
    )
    assert sum(len(axes.images) for axes in figure.axes) == len(images) + len(other) + 2
    assert {LOOKS["ln"].label, LOOKS["none"].label, "9 and 8", "1 and 0"} <= texts(figure)
    assert set(drawn["mean_pixel"]) == {0.25}
    shown = figure.axes[1].images[0].get_array()
    assert shown.max() == pytest.approx(0.85)  # the frame, dark ink on white
