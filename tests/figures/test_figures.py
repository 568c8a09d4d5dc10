"""Figures: one look per norm, the same bytes, the numbers beside the picture."""

import math
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import matplotlib
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from bnblind.figures import style as style_module
from bnblind.figures.classification import (
    accuracy_table,
    by_model,
    final_accuracies,
    last_epochs,
    seeds_by_batching,
    training_curves,
)
from bnblind.figures.panels import mark_level, panel_grid
from bnblind.figures.style import COLUMN, CONTROLS, LOOKS, use_style
from bnblind.figures.theorems import (
    CATEGORIES,
    categories_by_point,
    category,
    leak_curve,
    passing_categories,
    term_categories,
)
from bnblind.norm_facts import NormFacts, norm_facts
from bnblind.norms import norm_names
from bnblind.pipeline.formats.publishing import READABLE, caption_of, publish_figure, readable_width
from tests.conftest import RunPython


@pytest.fixture(autouse=True)
def style() -> None:
    use_style()


@pytest.fixture
def results() -> pd.DataFrame:
    """Two epochs of BN and LN on both batchings; accuracy tells norm, batching and seed."""
    metrics = ["train.loss", *(f"test.{mode}.accuracy" for mode in ("eval", "random", "label"))]
    rows = [
        (norm, batching, seed, epoch, metric, 0.1 * seed + 0.3 * (norm == "ln"))
        for norm in ("bn", "ln")
        for batching in ("random", "label")
        for seed in (0, 1)
        for epoch in (1, 2)
        for metric in metrics
    ]
    found = pd.DataFrame(rows, columns=["norm", "batching", "seed", "epoch", "metric", "value"])
    return found.assign(dataset="digits", model="head", lr=0.1)


TERMS = {"linear": ["first", "total"], "quadratic": ["first", "diag", "total"]}


@pytest.fixture
def passing() -> pd.DataFrame:
    rows = [
        (norm, loss, y0, term, eps, 1e-16 if norm == "bn" else 1.0)
        for norm in ("none", "bn")
        for loss, terms in TERMS.items()
        for term in terms
        for y0 in ("zero", "mean")
        for eps in (0.0, 1e-5)
    ]
    return pd.DataFrame(rows, columns=["norm", "loss", "y0", "term", "eps", "passing"])


def test_the_whole_is_drawn_beside_its_terms(passing: pd.DataFrame) -> None:
    """Of the linear loss the whole is its only term, drawn once."""
    figure, _ = passing_categories(passing)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    named = ["first order (T1)", "first order (T1)", "diagonal (T2)", "whole (T4)"]
    assert labels == named


def style_with(monkeypatch: pytest.MonkeyPatch, norms: dict[str, NormFacts]) -> ModuleType:
    """A fresh copy of the module of styles, in a library that has further norms."""
    monkeypatch.setattr("bnblind.norm_facts.norm_facts", lambda: norm_facts() | norms)
    spec = spec_from_file_location("further_style", style_module.__file__)
    assert spec is not None
    assert spec.loader is not None
    fresh = module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return fresh


def test_a_norm_that_the_table_does_not_know_gets_a_look_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its name, a colour and a marker that no other has; the known ones keep theirs."""
    looks = style_with(monkeypatch, {"further": NormFacts(within_sample=True)}).LOOKS
    own = looks.pop("further")
    assert own.label == "further"
    assert {name: vars(look) for name, look in looks.items()} == {
        name: vars(look) for name, look in LOOKS.items()
    }
    assert to_rgb(own.color) not in {to_rgb(look.color) for look in looks.values()}
    assert own.marker not in {look.marker for look in looks.values()}


def test_many_unknown_norms_are_told_apart_and_drawn(
    results: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By colour and marker together; a control among them is drawn with the controls."""
    names = [f"norm_{i}" for i in range(20)]
    fresh = style_with(monkeypatch, {name: NormFacts(control=name == "norm_7") for name in names})
    assert set(fresh.LOOKS) == {*norm_names(), *names}
    assert len({(look.color, look.marker) for look in fresh.LOOKS.values()}) == len(fresh.LOOKS)
    assert len({look.label for look in fresh.LOOKS.values()}) == len(fresh.LOOKS)
    assert set(fresh.CONTROLS) - set(CONTROLS) == {"norm_7"}

    for module in ("classification", "naming", "panels"):
        monkeypatch.setattr(f"bnblind.figures.{module}.LOOKS", fresh.LOOKS)
    trained = results[results["norm"] == "bn"]
    table = pd.concat([results, trained.assign(norm="norm_3"), trained.assign(norm="norm_4")])
    figure, _ = training_curves(table, 10)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["BN", "LN", "norm_3", "norm_4"]


def test_every_norm_has_its_own_look() -> None:
    assert set(LOOKS) == set(norm_names())
    for part in ("label", "color", "marker"):
        assert len({getattr(look, part) for look in LOOKS.values()}) == len(norm_names())


def test_figures_fit_the_page_and_name_their_axes(
    results: pd.DataFrame, passing: pd.DataFrame
) -> None:
    leak = pd.DataFrame({"eps": [1e-5] * 2, "std": [0.1, 1.0], "measured": [0.1, 1e-5]})
    curves, _ = training_curves(results, 10)
    for figure in (
        curves,
        final_accuracies(results, 10)[0],
        passing_categories(passing)[0],
        categories_by_point(passing)[0],
        leak_curve(leak)[0],
    ):
        assert figure.get_figwidth() <= 2 * COLUMN
    titles = [axes.get_title() for axes in curves.axes]
    assert titles == [
        f"{metric}\n{batches}"
        for metric in ("training loss", "test accuracy")
        for batches in ("random", "label-pure")
    ]
    assert {axes.get_xlabel() for axes in curves.axes} == {"epoch"}
    assert curves.axes[0].get_ylabel() == "head"


def test_the_drawn_numbers_are_the_given_ones(results: pd.DataFrame, passing: pd.DataFrame) -> None:
    figure, drawn = passing_categories(passing)
    bn = drawn[drawn["norm"] == "bn"]
    assert (bn["median"] == 1e-16).all()
    marks = {line.get_label(): [*line.get_xdata()] for line in figure.axes[0].lines}
    assert {name: {*marks[name]} for name in CATEGORIES} == {
        "blocked": {1},  # BN's column
        "leaks": set(),
        "passes in part": set(),
        "passes": {0},
    }

    _, finals = final_accuracies(results, 10)
    assert finals.groupby("norm")["value"].mean().round(9).to_dict() == {"bn": 0.05, "ln": 0.35}
    table = accuracy_table(results)
    assert [text.partition(" ")[0] for text in table["evaluation mode"]] == ["0.050", "0.350"] * 2


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (0.0, 1e-12, "blocked"),
        (1e-13, 1e-5, "leaks"),
        (1e-13, 0.011, "passes in part"),
        (0.9, 1.0, "passes in part"),
        (1.0, 1.7, "passes"),
    ],
)
def test_a_term_is_in_the_category_of_all_its_cases(
    least: float, most: float, expected: str
) -> None:
    assert category(least, most) == expected


def test_runs_of_different_length_and_new_words_are_drawn(results: pd.DataFrame) -> None:
    """A run that ends earlier keeps its own last epoch; a batching needs no title to be shown."""
    short = results[(results["norm"] == "ln") & (results["epoch"] == 1)]
    mixed = pd.concat([results[results["norm"] == "bn"], short]).replace({"random": "sorted"})
    _, finals = final_accuracies(mixed, 10)
    assert finals["norm"].value_counts().to_dict() == {"bn": 4, "ln": 4}
    assert set(accuracy_table(mixed)["batches"]) == {"label-pure batches", "sorted batches"}
    figure, _ = training_curves(mixed, 10)
    assert "training loss\nsorted" in {axes.get_title() for axes in figure.axes}


def test_models_are_shown_from_the_simplest_and_none_is_lost(results: pd.DataFrame) -> None:
    found = [("mlp", 0.1), ("new", 0.1), ("head", 0.2), ("conv", 0.1), ("head", 0.1)]
    table = pd.concat([results.assign(dataset="digits", model=m, lr=lr) for m, lr in found])
    shown = [(told, len(rows)) for told, rows in by_model(table)]
    order = [("head", 0.1), ("head", 0.2), ("mlp", 0.1), ("conv", 0.1), ("new", 0.1)]
    assert shown == [
        ({"dataset": "digits", "model": model, "lr": lr}, len(results)) for model, lr in order
    ]


def test_each_setting_that_tells_networks_apart_has_its_own_figure(results: pd.DataFrame) -> None:
    """Here the training loss: neither curves nor last epochs of two of them are mixed."""
    networks = results.assign(dataset="digits", model="head", lr=0.1)
    short = networks[networks["epoch"] == 1].assign(loss="squared")
    table = pd.concat([networks.assign(loss="cross_entropy"), short])
    shown = {told["loss"]: rows for told, rows in by_model(table)}
    assert {loss: len(rows) for loss, rows in shown.items()} == {
        "cross_entropy": len(results),
        "squared": len(results) // 2,
    }
    assert len(last_epochs(table)) == len(results) // 2 + len(short)


def test_a_figure_is_published_in_four_files(
    results: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = publish_figure(*training_curves(results, 10), str(tmp_path), "a/b", "A < B.")
    files = {f.name: f.read_bytes() for f in (tmp_path / "a").iterdir()}
    assert set(files) == {"b.svg", "b.pdf", "b.png", "b.csv"}
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "a/b.csv"), training_curves(results, 10)[1].reset_index(drop=True)
    )
    assert caption_of(files["b.svg"]) == "A < B."
    html = shown._repr_html_()
    assert "A &lt; B." in html
    assert "../figures/a/b.pdf" in html


def test_seeds_are_said_of_each_batching_that_has_its_own(results: pd.DataFrame) -> None:
    assert seeds_by_batching(results) == "seeds 0 to 1"
    own = results[results["batching"] == "label"].assign(batching="label_shuffled", seed=10)
    assert seeds_by_batching(pd.concat([own, results])) == (
        "seeds 0 to 1 (trained on random batches, trained on label-pure batches); "
        "seeds 10 (label-pure, shuffled order)"
    )


def test_the_name_of_a_level_stands_below_its_line_and_within_the_panel() -> None:
    """So that no curve at the level runs through it."""
    figure, panels = panel_grid(1, 1, COLUMN)
    axes = panels[0][0]
    axes.plot([1, 2], [math.log(10)] * 2, marker="o")
    axes.margins(y=0.12)
    axes.set_ylim(0, 3)
    mark_level([axes], math.log(10), "log 10")
    figure.canvas.draw()
    (name,) = axes.texts
    box, panel = name.get_window_extent(), axes.get_window_extent()
    line = axes.transData.transform((1, math.log(10)))[1]
    radius = matplotlib.rcParams["lines.markersize"] / 2 * figure.dpi / 72
    assert panel.y0 < box.y0 < box.y1 < line - radius


def test_a_guess_is_marked_of_the_cross_entropy_alone(results: pd.DataFrame) -> None:
    def levels(loss: str) -> list[float]:
        lines = training_curves(results.assign(loss=loss), 10)[0].axes[0].lines
        return [line.get_ydata()[0] for line in lines if line.get_linestyle() == ":"]

    assert levels("cross_entropy") == [math.log(10)]
    assert levels("squared_error") == []


def test_controls_have_a_row_of_their_own_and_what_was_not_trained_no_panel(
    results: pd.DataFrame,
) -> None:
    """The first row keeps its panels, since it names the columns."""
    control = results[(results["norm"] == "bn") & (results["batching"] == "label")]
    table = pd.concat([results, control.assign(norm="bn_center")])
    figure, _ = training_curves(table, 10)
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == [
        "head",
        "head, controls",
    ]
    shown = [axes.get_visible() for axes in figure.axes]
    assert shown == [True] * 4 + [False, True] * 2


def test_a_term_is_told_with_its_shares(passing: pd.DataFrame) -> None:
    """Whatever the loss: as nothing where it is blocked, as one number where all of it passes."""
    ln = passing[passing["norm"] == "bn"].assign(norm="ln", passing=0.25)
    ln.loc[ln["loss"] == "linear", "passing"] = 0.5
    figure, drawn = term_categories(pd.concat([passing, ln]))
    assert len(drawn) == 9
    told = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(told) == sorted(["1"] * 3 + ["0"] * 3 + ["0.25\nto 0.5"] * 2 + ["0.25"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "first order (T1)",
        "diagonal (T2)",
        "whole (T4)",
    ]


def test_the_readable_width_is_that_of_the_smallest_text() -> None:
    texts = b'<text style="font-size: 5px"/><text style="font-size: 10px; font-family: x"/>'
    assert READABLE == 8.8
    # 300 pt wide: at 528 px 5 pt become 8.8 px.
    assert readable_width(b'<svg x="1" width="300pt">' + texts) == "33.0rem"


DRAW = """
import sys
import pandas as pd
from bnblind.figures.style import use_style
from bnblind.figures.theorems import leak_curve
from bnblind.pipeline.formats.publishing import publish_figure
use_style()
leak = pd.DataFrame({"eps": [1e-5] * 2, "std": [0.1, 1.0], "measured": [0.1, 1e-5]})
publish_figure(*leak_curve(leak), sys.argv[1], "leak", "Leak.")
"""


def test_the_users_matplotlib_settings_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_python: RunPython
) -> None:
    """Nor does the date, nor what was drawn before in the same process, as here."""
    theirs = ("font.size: 20", "lines.linewidth: 9", "savefig.dpi: 30", "savefig.facecolor: red")
    (tmp_path / "matplotlibrc").write_text("\n".join([*theirs, "svg.fonttype: path"]))
    monkeypatch.setattr(sys, "argv", ["-c", str(tmp_path / "plain")])
    exec(DRAW, {})
    settings = {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "MPLBACKEND": "pdf"}
    run = run_python("-c", DRAW, tmp_path / "changed", **settings, TZ="Asia/Tokyo")
    assert run.returncode == 0, run.stderr
    plain, changed = (
        {f.name: f.read_bytes() for f in (tmp_path / name).iterdir()}
        for name in ("plain", "changed")
    )
    assert len(plain) == 4
    assert plain == changed
