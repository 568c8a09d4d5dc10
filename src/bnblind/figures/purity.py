"""Figure of the purity experiment: accuracy, and what batch norm blocks."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnblind.experiments.words import foreign_of, purity_of
from bnblind.figures.naming import interval_text, norms_in, where
from bnblind.figures.outcomes import outcomes
from bnblind.figures.panels import draw_against, draw_band, draw_seeds, mark_level
from bnblind.figures.style import COLUMN, LOOKS


def with_purity(results: pd.DataFrame, batch_size: int) -> pd.DataFrame:
    """The same rows with columns ``purity``, read from their batching, and ``exact``: whether every
    batch has it, as those with a fixed number of foreign samples have.
    """

    def purity(batching: str) -> float | None:
        foreign = foreign_of(batching)
        return purity_of(batching) if foreign is None else 1 - foreign / batch_size

    exact = results["batching"].map(lambda batching: foreign_of(batching) is not None)
    found = results["batching"].map(purity).astype("float64")
    return results.assign(purity=found, exact=exact)


def _place(metric: str) -> list[tuple[int, str]]:
    """Where the layer of ``LAYER.passing`` stands: ``2`` before ``10``."""
    return [(int(part) if part.isdigit() else -1, part) for part in metric.split(".")]


def blocked_shares(results: pd.DataFrame) -> pd.DataFrame:
    """What the first batch norm blocks of the squared gradient before and after training, one row
    per run and epoch; ``results`` are one model's, with metrics ``LAYER.passing``.
    """
    passing = results[results["metric"].str.endswith(".passing")]
    first = passing[passing["metric"] == min(passing["metric"], key=_place, default="")]
    when = (first["epoch"] > 0).map({False: "before training", True: "after training"})
    shares = first.assign(when=when, value=1 - first["value"])
    return shares[["norm", "batching", "purity", "exact", "seed", "epoch", "when", "value"]]


TICKS = (0.1, 0.5, 0.7, 0.9, 0.95, 0.98, 1)
"""Named on the axis of purity, which is stretched towards 1, where accuracy falls."""


def _towards_pure(purity: np.ndarray) -> np.ndarray:
    return -np.log10(1.02 - np.minimum(purity, 1.01))


def _purity_at(place: np.ndarray) -> np.ndarray:
    return 1.02 - 10.0**-place


def purity_curves(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Against the purity of the training batches: final test accuracy of each norm, and the share
    of the squared gradient that batch norm blocks; ``results`` are of one data set, model and rate,
    with a column purity. A run that diverged counts as chance.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(2 * COLUMN, 0.95 * COLUMN))
    accuracy = outcomes(results, 1 / classes)
    draw_against(left, where(accuracy, exact=False), "purity")
    for norm in norms_in(accuracy):
        own = where(accuracy, norm=norm, exact=True).groupby("purity")["value"].mean()
        named = LOOKS[norm].points | {"mfc": "white", "ms": 5}
        left.plot(own.index, own, **named)
    mark_level([left], 1 / classes, "chance", "left")
    left.set(ylim=(0, 1.03), ylabel="final test accuracy", title="accuracy")
    shares, look = blocked_shares(results), LOOKS["bn"]
    for when, line, face in (("before training", ":", "white"), ("after training", "-", None)):
        seeds = where(shares, when=when, exact=False)
        face = face or look.color
        named = look.line | {"label": f"{look.label}, {when}", "mfc": face, "ls": line}
        draw_band(right, seeds, "purity", **named)
        draw_seeds(right, seeds, "purity", **look.points, mfc=face)
    mixtures = mixture_shares(results)
    for name, marks in MIXTURES.items():
        mean = where(mixtures, name=name).groupby("purity")["value"].mean()
        right.plot(mean.index, mean, color="black", lw=0.9, **marks)
    right.set(ylim=(0, 1.03), ylabel="share of the squared gradient blocked", title="blocked by BN")
    for axes in (left, right):
        axes.set_xscale("function", functions=(_towards_pure, _purity_at))
        axes.set(xlabel="purity of the training batches", xlim=(0.05, 1.003))
        axes.set_xticks(TICKS, [f"{purity:g}" for purity in TICKS])
    handles, _ = left.get_legend_handles_labels()
    exact = Line2D(
        [], [], color="grey", marker="o", mfc="white", ls="", label="exact in each batch"
    )
    left.legend(handles=[*handles, exact], loc="lower left", bbox_to_anchor=(0, 0.12))
    right.legend(loc="lower right", fontsize=6)
    parts = {"test accuracy": accuracy, "blocked share": shares}
    parts |= {name: where(mixtures, name=name) for name in (*MIXTURES, "mixture.deviation")}
    drawn = pd.concat([of.assign(quantity=name) for name, of in parts.items()], ignore_index=True)
    told = ["quantity", "when", "norm", "batching", "purity", "exact", "seed", "value"]
    return figure, drawn[told]


MIXTURES: dict[str, dict[str, Any]] = {
    "mixture.measured": {"ls": "", "marker": "+", "label": "by centering, at y0: measured"},
    "mixture.stated": {"ls": "--", "label": "by centering, at y0: T7"},
}
"""Metrics of the first-order term's share that centering blocks, and how they are drawn."""


def mixture_shares(results: pd.DataFrame) -> pd.DataFrame:
    """Those of ``MIXTURES`` and their distance, one row per run and name."""
    rows = results[results["metric"].str.startswith("mixture.")].rename(columns={"metric": "name"})
    return rows.assign(when="before training")[
        ["norm", "batching", "purity", "exact", "seed", "when", "name", "value"]
    ].sort_values(["name", "purity", "seed"], kind="stable")


def purity_table(results: pd.DataFrame, classes: int) -> pd.DataFrame:
    """The same as numbers: one row per purity and batching. ``others per batch``: of how many
    samples of other classes every batch has, where that is the same number in each.
    """
    accuracy = outcomes(results, 1 / classes)
    columns = {
        f"accuracy, {LOOKS[norm].label}": where(accuracy, norm=norm) for norm in norms_in(accuracy)
    }
    shares = blocked_shares(results)
    columns |= {f"blocked by BN {when}": rows for when, rows in shares.groupby("when", sort=False)}
    mixtures = mixture_shares(results)
    columns |= {f"T7, {name.partition('.')[2]}": where(mixtures, name=name) for name in MIXTURES}
    keys = ["purity", "batching"]
    table = pd.DataFrame(
        {
            name: rows.groupby(keys)["value"].agg(interval_text, digits=".2f")
            for name, rows in columns.items()
        }
    )
    table = table.reset_index().rename(columns={"batching": "others per batch"})
    table["others per batch"] = table["others per batch"].map(foreign_of).astype("Int64")
    return table.astype(object).fillna("")
