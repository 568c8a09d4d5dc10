"""Figures of the sweeps: every run is drawn once, a diverged one as such."""

import pandas as pd
import pytest

from bnblind.figures.purity import blocked_shares, purity_curves, purity_table, with_purity
from bnblind.figures.rates import accuracy_by_rate, rate_table
from bnblind.figures.style import COLUMN, use_style

COLUMNS = ["norm", "batching", "lr", "seed", "epoch", "metric", "value"]
ACCURACY = "test.eval.accuracy"


@pytest.fixture(autouse=True)
def style() -> None:
    use_style()


@pytest.fixture
def rates() -> pd.DataFrame:
    """Two epochs at two rates; accuracy is lr + seed / 10; LN diverges at 0.1 with seed 1."""
    rows = []
    for norm in ("bn", "ln"):
        for batching in ("label", "label_shuffled"):
            for lr in (0.01, 0.1):
                for seed in (0, 1):
                    lost = norm == "ln" and lr == 0.1 and seed == 1
                    key = (norm, batching, lr, seed)
                    rows += [(*key, e, ACCURACY, lr + seed / 10) for e in (1, 2)[: 1 + (not lost)]]
                    rows += [(*key, 2, "diverged", 1.0)] * lost
    return pd.DataFrame(rows, columns=COLUMNS).assign(dataset="digits", model="head")


@pytest.fixture
def purities() -> pd.DataFrame:
    """BN and none at two purities; BN's blocked share is p before training, p / 2 after."""
    rows = []
    for norm in ("none", "bn"):
        for p in (0.5, 1.0):
            for seed in (0, 1):
                key = (norm, f"purity-{p:g}", 0.01, seed)
                rows += [(*key, epoch, ACCURACY, 0.2 * epoch + p / 10) for epoch in (0, 1, 2)]
                if norm == "bn":
                    rows += [(*key, 0, "4.passing", 1 - p), (*key, 2, "4.passing", 1 - p / 2)]
                    rows += [(*key, e, "10.passing", 0.0) for e in (0, 2)]
                    rows += [(*key, 0, f"mixture.{name}", p / 2) for name in ("measured", "stated")]
    rows += [("bn", "foreign-1", 0.01, 0, 2, ACCURACY, 0.7)]
    return with_purity(pd.DataFrame(rows, columns=COLUMNS), 16)


def test_every_seed_and_every_mean_is_drawn(rates: pd.DataFrame) -> None:
    figure, drawn = accuracy_by_rate(rates, 10)
    assert figure.get_figwidth() <= 2 * COLUMN
    assert len(drawn) == 16
    label, shuffled = figure.axes
    assert label.get_title() != shuffled.get_title()
    lines = {line.get_label(): line for line in label.lines}
    assert lines["BN"].get_ydata().tolist() == pytest.approx([0.06, 0.15])
    assert lines["LN"].get_ydata().tolist() == pytest.approx([0.06, 0.1])
    crosses = [line for line in label.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [line.get_xdata().tolist() for line in crosses] == [[0.1]]
    assert [tick.get_text() for tick in label.get_xticklabels()] == ["0.01", "0.1"]
    table = rate_table(rates, 10)
    kept, lost = table["LN"][:2]
    assert kept.startswith("0.06 (")
    assert lost == "0.10 (0.10 to 0.10), 1 diverged", "a run that diverged counts as chance"
    assert table.columns.tolist() == ["batches", "learning rate", "BN", "LN"]
    assert table["learning rate"].tolist()[:2] == ["0.01", "0.1"], "not 0.010000"


def test_blocked_is_what_does_not_pass_the_first_norm(purities: pd.DataFrame) -> None:
    shares = blocked_shares(purities).set_index(["when", "purity", "seed"])["value"]
    assert len(shares) == 2 * 2 * 2
    assert (shares["before training"] == [0.5, 0.5, 1, 1]).all()
    assert (shares["after training"] == [0.25, 0.25, 0.5, 0.5]).all()


def test_accuracy_and_blocked_share_are_drawn_against_purity(purities: pd.DataFrame) -> None:
    figure, drawn = purity_curves(purities, 10)
    assert figure.get_figwidth() <= 2 * COLUMN
    assert drawn.groupby("quantity").size().to_dict() == {
        **{"test accuracy": 9, "blocked share": 8},
        **{"mixture.measured": 4, "mixture.stated": 4},
    }
    exact = drawn[drawn["exact"]]
    assert exact[["batching", "purity", "value"]].values.tolist() == [["foreign-1", 0.9375, 0.7]]
    left, right = figure.axes
    lines = {line.get_label(): line for axes in (left, right) for line in axes.lines}
    assert lines["BN"].get_xdata().tolist() == [0.5, 1.0]
    assert lines["BN"].get_ydata().tolist() == pytest.approx([0.35, 0.4])
    assert lines["BN, after training"].get_ydata().tolist() == pytest.approx([0.25, 0.5])
    assert lines["by centering, at y0: T7"].get_ydata().tolist() == pytest.approx([0.25, 0.5])
    (open_marks,) = (line for line in left.lines if [*line.get_xdata()] == [0.9375])
    assert open_marks.get_ydata().tolist() == pytest.approx([0.7])
    table = purity_table(purities, 10)
    assert table["purity"].tolist() == [0.5, 0.9375, 1.0]
    assert table["others per batch"].tolist() == ["", 1, ""]
    assert table["blocked by BN before training"].tolist()[2] == "1.00 (1.00 to 1.00)"


def test_purities_without_batch_norm_are_drawn_too(purities: pd.DataFrame) -> None:
    plain = purities[purities["norm"] == "none"]
    assert set(purity_curves(plain, 10)[1]["quantity"]) == {"test accuracy"}
    assert len(purity_table(plain, 10)) == 2
