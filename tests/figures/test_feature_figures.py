"""Figures of the features and of the linear signal: what they draw is what they are given."""

import pandas as pd
import pytest

from bnblind.figures.features import METRICS, measures_by_norm, measures_table, tsne_panels
from bnblind.figures.linear_signal import by_cycle, displacement_table, linear_signal
from bnblind.figures.style import COLUMN, FLOOR, use_style


@pytest.fixture(autouse=True)
def style() -> None:
    use_style()


@pytest.fixture
def measures() -> pd.DataFrame:
    """BN in two modes, LN in one; a value tells metric, norm, mode, epoch and seed apart."""
    rows = [
        (norm, batching, seed, epoch, mode, metric, 0.1 * i + 0.02 * epoch + 0.002 * seed + shift)
        for norm, modes in {"ln": {"eval": 0.0}, "bn": {"eval": 0.3, "random": 0.4}}.items()
        for batching in ("label", "random")
        for seed in (0, 1)
        for epoch in (0, 5)
        for mode, shift in modes.items()
        for i, metric in enumerate([*METRICS, "probe.converged"])
    ]
    columns = ["norm", "batching", "seed", "epoch", "mode", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def plane() -> pd.DataFrame:
    rows = [
        (norm, batching, 1, 5, label, float(label), -float(label))
        for norm in ("ln", "bn")
        for batching in ("label", "random")
        for label in (0, 0, 1)
    ]
    return pd.DataFrame(rows, columns=["norm", "batching", "seed", "epoch", "label", "x", "y"])


def test_every_seed_is_a_mark_at_its_value(measures: pd.DataFrame) -> None:
    figure, drawn = measures_by_norm({"head": measures, "MLP": measures})
    assert figure.get_figwidth() <= 2 * COLUMN
    assert set(drawn["metric"]) == set(METRICS)
    silhouettes = figure.axes[0]
    assert [text.get_text() for text in silhouettes.texts] == [
        f"{network}, trained on {batches} batches"
        for network in ("head", "MLP")
        for batches in ("random", "label-pure")
    ]
    marks = {tuple(line.get_xdata()) for line in silhouettes.lines if len(line.get_xdata())}
    assert {tuple(round(x, 6) for x in mark) for mark in marks} == {
        (0.3, 0.302),  # BN, before
        (0.4, 0.402),  # BN, after
        (0.5, 0.502),  # BN, after, training mode
        (0.0, 0.002),  # LN, before
        (0.1, 0.102),  # LN, after
    }
    assert [text.get_text() for text in silhouettes.get_yticklabels()] == ["BN", "LN"] * 4


def test_the_table_goes_from_before_to_after(measures: pd.DataFrame) -> None:
    table = measures_table(measures)
    assert table[["batches", "norm", "mode"]].values.tolist() == [
        [f"{batches} batches", norm, mode]
        for batches in ("random", "label-pure")
        for norm, mode in (
            ("BN", "evaluation mode"),
            ("BN", "training mode, random batches"),
            ("LN", "evaluation mode"),
        )
    ]
    row = table.iloc[1]
    assert row["linear probe"].startswith("0.601 → 0.701 (")


def test_panels_carry_the_measures_of_their_own_network(
    plane: pd.DataFrame, measures: pd.DataFrame
) -> None:
    figure, drawn = tsne_panels({"head": plane}, {"head": measures})
    assert figure.get_figwidth() <= 2 * COLUMN
    assert len(drawn) == len(plane)
    bn, ln = figure.axes[:2]
    titles = (bn.get_title(), ln.get_title())
    assert titles == ("BN\nrandom\nbatches", "LN\nrandom\nbatches")
    assert bn.get_xlabel() == "silhouette 0.40,\nprobe 0.60"
    assert ln.get_xlabel() == "silhouette 0.10,\nprobe 0.30"
    assert {text.get_text(): text.get_position() for text in bn.texts} == {
        "0": (0.0, 0.0),
        "1": (1.0, -1.0),
    }


def test_a_network_with_one_feature_for_all_images_says_so(
    plane: pd.DataFrame, measures: pd.DataFrame
) -> None:
    """Or its panel would show a lone class's number."""
    plane.loc[plane["norm"] == "bn", ["x", "y"]] = 0.0
    figure, _ = tsne_panels({"head": plane}, {"head": measures})
    bn, ln = figure.axes[:2]
    assert [text.get_text() for text in bn.texts] == [
        "one point:\nall images have\nthe same features"
    ]
    assert len(ln.texts) > 1


@pytest.fixture
def steps() -> pd.DataFrame:
    """Two classes, three cycles: BN moves nothing, without a norm the losses of the two
    fall by 1 and by 3 per cycle.
    """
    rows = [
        (
            norm,
            seed,
            step,
            step % 2,
            10.0 * (step % 2) - (1 + 2 * (step % 2)) * (step // 2) * moves,
            0.5 * step * moves,
        )
        for norm, moves in {"none": 1, "bn": 0}.items()
        for seed in (0, 1)
        for step in range(6)
    ]
    return pd.DataFrame(rows, columns=["norm", "seed", "step", "label", "loss", "displacement"])


def test_the_loss_is_compared_over_whole_cycles(steps: pd.DataFrame) -> None:
    """So that classes of different losses do not look like progress."""
    cycles = by_cycle(steps).set_index(["norm", "seed", "step"]).sort_index()
    assert cycles.loc[("none", 0), "fall"].to_dict() == {2: 2, 4: 4}
    assert cycles.loc[("none", 0), "displacement"].to_dict() == {2: 1, 4: 2}
    assert (cycles.loc["bn", ["fall", "displacement"]] == 0).all(axis=None)


def test_zeros_are_drawn_at_the_floor(steps: pd.DataFrame) -> None:
    figure, _ = linear_signal(steps)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert set(lines["BN"]) == {FLOOR}
    assert lines["none"].tolist() == [1, 2]
    above, below = figure.axes[0], figure.axes[2]
    assert above.get_ylim()[0] > FLOOR
    assert below.get_ylim()[0] < FLOOR < below.get_ylim()[1] < above.get_ylim()[0]
    assert figure.get_figwidth() <= 2 * COLUMN


def test_all_at_rest_is_drawn_too(steps: pd.DataFrame) -> None:
    figure, drawn = linear_signal(steps[steps["norm"] == "bn"])
    figure.canvas.draw()
    assert set(drawn["norm"]) == {"bn"}


def test_the_table_ends_with_the_last_cycle(steps: pd.DataFrame) -> None:
    table = displacement_table(steps).set_index("norm")
    assert table.loc["none", "|change of the loss|"] == "4 (4 to 4)"
    assert table.loc["BN", "|W − W(0)| / |W(0)|"] == "0 (0 to 0)"
    assert table["seeds"].tolist() == [2, 2]
