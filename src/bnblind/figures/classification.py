"""Figures of the classification experiment."""

import math
import textwrap
from collections.abc import Iterable
from itertools import product
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bnblind.experiments.networks.cell import NetworkCell
from bnblind.figures.naming import (
    SHORT_BATCHES,
    Network,
    batch_title,
    batching_title,
    batchings_in,
    identity_in,
    in_order,
    in_runs,
    interval_text,
    model_title,
    networks_in,
    norms_in,
    rows_in_order,
    specialities,
    where,
    with_labels,
)
from bnblind.figures.outcomes import draw_interval, outcomes
from bnblind.figures.panels import (
    LEVEL,
    accuracy_axes,
    draw_band,
    grouped_places,
    log_scale,
    name_groups,
    panel_grid,
    title_columns,
)
from bnblind.figures.style import LOOKS, with_controls

MODEL_NOTES = {
    "head": "One norm, right before the linear classifier.",
    "head_relu": "As `head`, with a ReLU between norm and classifier.",
    "mlp": "Two hidden layers, a norm before the ReLU of each.",
    "mini_vgg": "Three convolutions; one norm, after the first fully connected layer.",
    "resnet": "Residual blocks, a norm after every convolution.",
    "conv": "Three convolutions, a norm after each.",
    "vgg11": "Eight convolutions; one norm, after the first fully connected layer.",
    "resnet18": "Eight residual blocks, a norm after every convolution.",
    "densenet121": "Four dense blocks, a norm before every convolution.",
}
"""What to know of each model, in the order in which they are shown."""
MODE_TITLES = {
    "eval": "evaluation mode",
    "random": "training mode, random batches",
    "label": "training mode, label-pure batches",
}


def by_model(results: pd.DataFrame) -> list[tuple[Network, pd.DataFrame]]:
    """Each network and its runs, in the order of ``MODEL_NOTES``; other models follow."""
    found = [*networks_in(results, sort=True)]
    order = in_order((network["model"] for network, _ in found), MODEL_NOTES)
    return sorted(found, key=lambda own: (order.index(own[0]["model"]), specialities(own[0])))


def seeds_by_batching(results: pd.DataFrame) -> str:
    """Which seeds were run; where the batchings differ in them, those of each."""
    of: dict[str, list[str]] = {}
    for batching in batchings_in(results):
        seeds = results.loc[results["batching"] == batching, "seed"]
        of.setdefault(in_runs(seeds), []).append(batching_title(batching))
    if len(of) == 1:
        return f"seeds {next(iter(of))}"
    return "; ".join(f"seeds {seeds} ({', '.join(titles)})" for seeds, titles in of.items())


def last_epochs(results: pd.DataFrame) -> pd.DataFrame:
    run = [*identity_in(results), "seed"]
    return results[results["epoch"] == results.groupby(run)["epoch"].transform("max")]


def titles(networks: Iterable[Network]) -> list[str]:
    """What each network is called: its name, what is special in its training and, where several
    would be called the same, its learning rate.
    """
    networks = list(networks)
    names = [f"{model_title(network['model'])}{specialities(network)}" for network in networks]
    return [
        f"{name}, rate {network['lr']:g}" if names.count(name) > 1 else name
        for network, name in zip(networks, names, strict=True)
    ]


def _legend(figure: Figure) -> None:
    """One entry per norm, in whichever panels it is shown."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        named |= dict(zip(names, handles, strict=True))
    labels = [look.label for look in LOOKS.values() if look.label in named]
    handles = [named[label] for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))


def training_curves(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Training loss (left) and test accuracy in evaluation mode (right) against the epoch: a row of
    panels for each network, its controls of BN in one of their own, a column for each batching;
    ``results`` are of one data set. Lines are at chance and, of cross-entropy, at a guess's loss.
    """
    networks, tables = zip(*by_model(results), strict=True)
    rows = [
        (title + (", controls" if group else ""), own)
        for title, runs in zip(titles(networks), tables, strict=True)
        for group, own in with_controls(runs).items()
    ]
    batchings = batchings_in(results)
    metrics = [*product(("train.loss", "test.eval.accuracy"), batchings)]
    figure, panels = panel_grid(len(rows), len(metrics), 0.8 + 0.95 * len(rows))
    for line, (title, runs) in zip(panels, rows, strict=True):
        for axes, (metric, batching) in zip(line, metrics, strict=True):
            found = where(runs, metric=metric, batching=batching)
            axes.set_visible(len(found) > 0)
            for norm in norms_in(found):
                own = where(found, norm=norm)
                draw_band(axes, own, "epoch", 1e-3, **LOOKS[norm].line, ms=2, lw=0.9)
            _scale(axes, metric, runs, classes)
            axes.tick_params(labelleft=batching == batchings[0])
        name = textwrap.fill(title, 14, break_long_words=False)
        line[0].set_ylabel(name, weight="bold", fontsize=7)
    for axes, (metric, batching) in zip(panels[0], metrics, strict=True):
        axes.set_visible(True)
        what = "training loss" if metric == "train.loss" else "test accuracy"
        axes.set_title(f"{what}\n{textwrap.fill(SHORT_BATCHES.get(batching, batching), 12)}")
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    _legend(figure)
    return figure, results[results["metric"].isin({metric for metric, _ in metrics})]


def _scale(axes: Axes, metric: str, runs: pd.DataFrame, classes: int) -> None:
    """The axes that all panels of a metric share, with the level of a guess."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    if metric != "train.loss":
        axes.set(ylim=(0, 1.03))
        axes.axhline(1 / classes, **LEVEL)
        return
    lowest, highest = where(runs, metric=metric)["value"].agg(["min", "max"])
    log_scale(axes, "y")
    axes.set_ylim(0.7 * lowest, 1.4 * highest)
    axes.minorticks_off()
    if set(runs.get("loss", ())) <= {NetworkCell.loss}:
        axes.axhline(math.log(classes), **LEVEL)


def final_accuracies(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Test accuracy at the end of training under every norm: a group of rows for each network, a
    panel for each batching; arguments as of :func:`training_curves`. A run that diverged counts as
    chance.
    """
    drawn = outcomes(results, 1 / classes)
    networks, tables = zip(*by_model(drawn), strict=True)
    groups = [*zip(titles(networks), tables, strict=True)]
    rows = [(title, norm) for title, runs in groups for norm in norms_in(runs)]
    places, batchings = grouped_places(rows), batchings_in(drawn)
    height = 0.8 + 0.17 * max(places.values())
    figure, panels = panel_grid(1, len(batchings), height, sharey=True)
    for axes, batching in zip(panels[0], batchings, strict=True):
        for title, runs in groups:
            for norm in norms_in(runs):
                own = where(runs, norm=norm, batching=batching)
                if len(own):
                    draw_interval(axes, own, places[title, norm], 0.3, **LOOKS[norm].points)
    accuracy_axes(panels[0], classes)
    name_groups(panels[0][0], places, lambda norm: LOOKS[norm].label)
    title_columns(panels, [batch_title(batching).replace(", ", ",\n") for batching in batchings])
    return figure, drawn


def accuracy_table(results: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy after the last epoch: one row per (batching, norm)."""
    last = last_epochs(results)
    columns = {}
    for mode, title in MODE_TITLES.items():
        rows = where(last, metric=f"test.{mode}.accuracy")
        by_cell = rows.groupby(["batching", "norm"])["value"]
        columns[title] = by_cell.agg(interval_text)
    table = pd.DataFrame({**columns, "seeds": by_cell.size()}).reset_index()
    return with_labels(rows_in_order(table, {"batching": batchings_in(table), "norm": LOOKS}))
