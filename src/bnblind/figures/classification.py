"""Figures of the classification experiment."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bnblind.experiments.networks.cell import NetworkCell
from bnblind.figures.naming import (
    batching_title,
    batchings_in,
    comparison_in,
    identity_in,
    norms_in,
    rows_in_order,
    spread,
    with_labels,
)
from bnblind.figures.panels import mark_level
from bnblind.figures.style import COLUMN, LOOKS

MODEL_NOTES = {
    "head": "One norm, right before the linear classifier.",
    "head_relu": "As `head`, with a ReLU between norm and classifier.",
    "mlp": "Two hidden layers, a norm before the ReLU of each.",
    "mini_vgg": "Three convolutions; one norm, after the first fully connected layer.",
    "resnet": "Residual blocks, a norm after every convolution.",
    "conv": "Three convolutions, a norm after each.",
}
"""What to know of each model, in the order in which they are shown."""
MODE_TITLES = {
    "eval": "evaluation mode",
    "random": "training mode, random batches",
    "label": "training mode, label-pure batches",
}
MODE_TICKS = {
    "eval": "evaluation\nmode",
    "random": "training,\nrandom",
    "label": "training,\nlabel-pure",
}


def by_model(results: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """What tells data set, model, learning rate and loss apart, and the rows of each, in the order
    of ``MODEL_NOTES``; other models follow.
    """
    keys = comparison_in(results)
    found = results[keys].drop_duplicates().sort_values(keys)
    order = {name: i for i, name in enumerate(MODEL_NOTES)}
    place = found["model"].map(order).fillna(len(order))
    for _, key in found.assign(place=place).sort_values("place", kind="stable").iterrows():
        rows = results[(results[keys] == key[keys]).all(axis=1)]
        yield {name: key[name] for name in keys}, rows


def seeds_by_batching(results: pd.DataFrame) -> str:
    """Which seeds were run; where the batchings differ in them, those of each."""
    of: dict[str, list[str]] = {}
    for batching in batchings_in(results):
        seeds = sorted(results.loc[results["batching"] == batching, "seed"].unique())
        of.setdefault(", ".join(map(str, seeds)), []).append(batching_title(batching))
    if len(of) == 1:
        return f"seeds {next(iter(of))}"
    return "; ".join(f"seeds {seeds} ({', '.join(titles)})" for seeds, titles in of.items())


def last_epochs(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last epoch."""
    run = [*identity_in(results), "seed"]
    return results[results["epoch"] == results.groupby(run)["epoch"].transform("max")]


def _rows(results: pd.DataFrame, metric: str) -> pd.DataFrame:
    columns = ["norm", "batching", "seed", "epoch"]
    return results.loc[results["metric"] == metric, [*columns, "value"]]


def _draw_seeds(axes: Axes, rows: pd.DataFrame) -> None:
    """For each norm the mean over the seeds, and the range of the seeds around it."""
    for norm in norms_in(rows):
        look = LOOKS[norm]
        by_epoch = rows[rows["norm"] == norm].groupby("epoch")["value"].agg(["mean", "min", "max"])
        axes.plot(
            by_epoch.index, by_epoch["mean"], color=look.color, marker=look.marker, label=look.label
        )
        axes.fill_between(
            by_epoch.index, by_epoch["min"], by_epoch["max"], color=look.color, alpha=0.25, lw=0
        )


def _column_titles(panels: list[Axes], batchings: list[str]) -> None:
    for axes, batching in zip(panels, batchings, strict=True):
        axes.set_title(batching_title(batching))


def _legend(figure: Figure) -> None:
    """One entry per norm, in whichever panels it is shown."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        named |= dict(zip(names, handles, strict=True))
    labels = [look.label for look in LOOKS.values() if look.label in named]
    columns = min(len(labels), 4)
    handles = [named[label] for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def training_curves(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Training loss above, test accuracy in evaluation mode below, against the epoch.

    Args:
        results: one grid in long form, columns norm, batching, seed, epoch, metric, value.
        classes: of the data set, for the lines at chance and, of cross-entropy, at a guess's loss.
    """
    entropy = set(results.get("loss", ())) <= {NetworkCell.loss}
    unit = "\n(nats)" if entropy else ""
    metrics = {"train.loss": f"training loss{unit}", "test.eval.accuracy": "test accuracy"}
    batchings = batchings_in(results)
    figure, panels = plt.subplots(
        len(metrics),
        len(batchings),
        figsize=(2 * COLUMN, 1.25 * COLUMN),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for row, (metric, label) in zip(panels, metrics.items(), strict=True):
        rows = _rows(results, metric)
        for axes, batching in zip(row, batchings, strict=True):
            _draw_seeds(axes, rows[rows["batching"] == batching])
        row[0].set_ylabel(label)
    for axes in panels[-1]:
        axes.set(xlabel="epoch", ylim=(0, 1.03))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels[0]:
        axes.set_yscale("log")
        axes.margins(y=0.12)
    if entropy:
        mark_level(panels[0], math.log(classes), f"log {classes}")
    mark_level(panels[-1], 1 / classes, "chance")
    _column_titles(list(panels[0]), batchings)
    _legend(figure)
    drawn = results[results["metric"].isin(list(metrics))]
    return figure, drawn


def final_accuracies(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Final test accuracy of every seed, in the three modes of evaluation.

    Args:
        results: as in :func:`training_curves`.
    """
    last = last_epochs(results)
    batchings = batchings_in(results)
    norms = norms_in(results)
    figure, panels = plt.subplots(
        1, len(batchings), figsize=(2 * COLUMN, 0.8 * COLUMN), sharey=True, squeeze=False
    )
    step = min(0.22, 0.8 / len(norms))
    for axes, batching in zip(panels[0], batchings, strict=True):
        for i, norm in enumerate(norms):
            look, shift = LOOKS[norm], (i - (len(norms) - 1) / 2) * step
            for position, mode in enumerate(MODE_TITLES):
                rows = _rows(last, f"test.{mode}.accuracy")
                values = rows.loc[(rows["norm"] == norm) & (rows["batching"] == batching), "value"]
                axes.plot(
                    [position + shift] * len(values),
                    values,
                    linestyle="",
                    marker=look.marker,
                    color=look.color,
                    alpha=0.7,
                    label=look.label if position == 0 else None,
                )
        axes.set_xticks(range(len(MODE_TICKS)), list(MODE_TICKS.values()))
        axes.set(ylim=(0, 1.03), xlim=(-0.5, len(MODE_TITLES) - 0.5))
    mark_level(panels[0], 1 / classes, "chance", "left")
    panels[0][0].set_ylabel("final test accuracy, each seed")
    _legend(figure)
    _column_titles(list(panels[0]), batchings)
    drawn = last[last["metric"].isin([f"test.{mode}.accuracy" for mode in MODE_TITLES])]
    return figure, drawn


def accuracy_table(results: pd.DataFrame) -> pd.DataFrame:
    """Final test accuracy, mean and range over the seeds: one row per (batching, norm)."""
    last = last_epochs(results)
    columns = {}
    for mode, title in MODE_TITLES.items():
        rows = last[last["metric"] == f"test.{mode}.accuracy"]
        by_cell = rows.groupby(["batching", "norm"])["value"]
        columns[title] = by_cell.agg(spread)
    table = pd.DataFrame({**columns, "seeds": by_cell.size()}).reset_index()
    return with_labels(rows_in_order(table, {"batching": batchings_in(table), "norm": LOOKS}))
