"""Figures of the derivative analysis: every norm layer, kind of batch and epoch has its place."""

from itertools import product

import pandas as pd
import pytest

from bnblind.figures.derivatives import (
    READINGS,
    TERMS,
    blocked_by_layer,
    blocked_by_term,
    readings_along_training,
    terms_along_training,
)
from bnblind.figures.naming import called
from bnblind.figures.style import COLUMN, TERM_COLORS, use_style
from bnblind.probe_figures import SHARES


@pytest.fixture(autouse=True)
def style() -> None:
    use_style()


@pytest.fixture
def splits() -> pd.DataFrame:
    """BN at two layers, LN at one; a tenth passes of each term, and more with every epoch."""
    rows = [
        {"norm": norm, "layer": layer, "batching": batching, "probed": probed, "epoch": epoch}
        | {"seed": seed, "kinks": 0, "y.total.total": 1.0}
        | {f"y.{term}.{term}": 1.0 for term in TERM_COLORS}
        | {f"passing.{term}": 0.1 for term in (*TERM_COLORS, "total")}
        | {f"{share}.{term}": 0.45 for share in ("mean", "scale") for term in TERMS}
        | dict.fromkeys(READINGS, 0.1 * (1 + epoch))
        | {"mean_share": 0.45, "scale_share": 0.45, "passing": 0.1}
        for norm, layer in (("bn", "1"), ("bn", "4"), ("ln", "1"))
        for batching, probed in product(("label", "random"), repeat=2)
        for epoch, seed in product((0, 2, 6), (0, 1))
    ]
    return pd.DataFrame(rows)


def test_readings_stand_at_every_norm_and_epoch(splits: pd.DataFrame) -> None:
    """A row of panels for each batch norm, a column for each kind of batch trained and probed."""
    figure, drawn = readings_along_training({"MLP": splits})
    assert figure.get_figwidth() <= 2 * COLUMN
    assert len(figure.axes) == 2 * 4
    assert figure.axes[4].get_ylabel() == "MLP,\nlast norm"
    assert figure.axes[1].get_title() == "trained: label-pure\nprobed: random"
    (line,) = (line for line in figure.axes[0].lines if line.get_label() == "of the terms' sum")
    assert line.get_xdata().tolist() == [0, 2, 6]
    assert line.get_ydata().tolist() == pytest.approx([0.1, 0.3, 0.7])
    assert set(drawn["norm"]) == {"bn"}


def test_shares_stand_before_training_and_after_it(splits: pd.DataFrame) -> None:
    """The start is one row: it is the same for every kind of batch."""
    bn = splits[splits["norm"] == "bn"]
    figure, drawn = blocked_by_layer({"MLP": bn})
    stages = ["before training", "trained on label-pure batches", "trained on random batches"]
    rows = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert rows == [f"norm {norm}, {stage}" for norm in (1, 2) for stage in stages]
    assert drawn[list(SHARES)].sum(axis=1).tolist() == pytest.approx([1.0] * 12)
    figure, drawn = blocked_by_term({"MLP": splits})
    assert [axes.get_title() for axes in figure.axes][:2] == ["first-order term", "diagonal term"]
    assert set(drawn["epoch"]) == {6}


def test_terms_have_a_panel_for_each_network_and_norm(splits: pd.DataFrame) -> None:
    figure, drawn = terms_along_training({"MLP": splits, "conv": splits})
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles == ["MLP,\nBN", "MLP,\nLN", "conv,\nBN", "conv,\nLN"]
    assert drawn["passes"].tolist() == pytest.approx([0.1**0.5] * len(drawn))


def test_networks_of_one_name_are_called_by_their_seeds(splits: pd.DataFrame) -> None:
    tables = {"a": splits, "b": splits.assign(seed=splits["seed"] + 5), "c": splits}
    names = called(tables, {"a": "head", "b": "head", "c": "mlp"})
    assert [*names.values()] == ["head, seeds 0 to 1", "head, seeds 5 to 6", "MLP"]
