"""Figures of the classification experiment."""

import math
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bnblind.experiments.networks.cell import NetworkCell
from bnblind.figures.naming import (
    Network,
    batching_title,
    batchings_in,
    identity_in,
    in_order,
    networks_in,
    norms_in,
    rows_in_order,
    spread,
    where,
    with_labels,
)
from bnblind.figures.panels import draw_band, mark_level, panel_grid, title_columns
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


def by_model(results: pd.DataFrame) -> list[tuple[Network, pd.DataFrame]]:
    """Each network and its runs, in the order of ``MODEL_NOTES``; other models follow."""
    found = [*networks_in(results, sort=True)]
    order = in_order((network["model"] for network, _ in found), MODEL_NOTES)
    return sorted(found, key=lambda own: order.index(own[0]["model"]))


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
    figure, panels = panel_grid(
        len(metrics), len(batchings), 1.25 * COLUMN, sharex=True, sharey="row"
    )
    for row, (metric, label) in zip(panels, metrics.items(), strict=True):
        for axes, batching in zip(row, batchings, strict=True):
            rows = where(results, metric=metric, batching=batching)
            for norm in norms_in(rows):
                draw_band(axes, norm, where(rows, norm=norm), "epoch", "mean", alpha=0.25)
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
    title_columns(panels, map(batching_title, batchings))
    _legend(figure)
    drawn = results[results["metric"].isin(list(metrics))]
    return figure, drawn


def final_accuracies(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Final test accuracy of every seed, in the three modes of evaluation; ``results`` as in
    :func:`training_curves`.
    """
    last = last_epochs(results)
    batchings = batchings_in(results)
    norms = norms_in(results)
    figure, panels = panel_grid(1, len(batchings), 0.8 * COLUMN, sharey=True)
    step = min(0.22, 0.8 / len(norms))
    for axes, batching in zip(panels[0], batchings, strict=True):
        for i, norm in enumerate(norms):
            look, shift = LOOKS[norm], (i - (len(norms) - 1) / 2) * step
            for position, mode in enumerate(MODE_TITLES):
                metric = f"test.{mode}.accuracy"
                values = where(last, metric=metric, norm=norm, batching=batching)["value"]
                label = look.label if position == 0 else None
                axes.plot(
                    [position + shift] * len(values), values, **look.points, alpha=0.7, label=label
                )
        axes.set_xticks(range(len(MODE_TICKS)), list(MODE_TICKS.values()))
        axes.set(ylim=(0, 1.03), xlim=(-0.5, len(MODE_TITLES) - 0.5))
    mark_level(panels[0], 1 / classes, "chance", "left")
    panels[0][0].set_ylabel("final test accuracy, each seed")
    _legend(figure)
    title_columns(panels, map(batching_title, batchings))
    drawn = last[last["metric"].isin([f"test.{mode}.accuracy" for mode in MODE_TITLES])]
    return figure, drawn


def accuracy_table(results: pd.DataFrame) -> pd.DataFrame:
    """Final test accuracy, mean and range over the seeds: one row per (batching, norm)."""
    last = last_epochs(results)
    columns = {}
    for mode, title in MODE_TITLES.items():
        rows = where(last, metric=f"test.{mode}.accuracy")
        by_cell = rows.groupby(["batching", "norm"])["value"]
        columns[title] = by_cell.agg(spread)
    table = pd.DataFrame({**columns, "seeds": by_cell.size()}).reset_index()
    return with_labels(rows_in_order(table, {"batching": batchings_in(table), "norm": LOOKS}))
