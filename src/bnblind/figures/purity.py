"""Figure of the purity experiment: accuracy, and what batch norm blocks."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bnblind.experiments.words import purity_of
from bnblind.figures.naming import norms_in, spread, where
from bnblind.figures.panels import draw_against, mark_level
from bnblind.figures.rates import final_values
from bnblind.figures.style import COLUMN, LOOKS


def with_purity(results: pd.DataFrame) -> pd.DataFrame:
    """The same rows with a column ``purity``, read from their batching."""
    return results.assign(purity=results["batching"].map(purity_of).astype("float64"))


def _place(metric: str) -> list[tuple[int, str]]:
    """Where the layer of ``LAYER.passing`` stands: ``2`` before ``10``."""
    return [(int(part) if part.isdigit() else -1, part) for part in metric.split(".")]


def blocked_shares(results: pd.DataFrame) -> pd.DataFrame:
    """What the first batch norm blocks before and after training, one row per run and epoch.

    Args:
        results: runs of one model in long form, with metrics ``LAYER.passing``.

    Returns:
        Columns purity, seed, epoch, when, value: the blocked share of the squared gradient.
    """
    passing = results[results["metric"].str.endswith(".passing")]
    first = passing[passing["metric"] == min(passing["metric"], key=_place, default="")]
    when = (first["epoch"] > 0).map({False: "before training", True: "after training"})
    shares = first.assign(when=when, value=1 - first["value"])
    return shares[["norm", "purity", "seed", "epoch", "when", "value"]]


def purity_curves(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Against the purity of the training batches: final test accuracy of each norm, and the
    share of the squared gradient that batch norm blocks.

    Args:
        results: runs of one data set, model and rate in long form, with a column purity.
        classes: of the data set, for the line at chance.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(2 * COLUMN, 0.9 * COLUMN))
    accuracy = final_values(results, "test.eval.accuracy", ["purity"])
    draw_against(left, accuracy, "purity")
    mark_level([left], 1 / classes, "chance", "left")
    left.set(ylim=(0, 1.03), ylabel="final test accuracy", title="accuracy")
    shares, look = blocked_shares(results), LOOKS["bn"]
    for when, line, face in (("before training", ":", "white"), ("after training", "-", None)):
        own = where(shares, when=when)
        mean = own.groupby("purity")["value"].mean()
        named = look.line | {"label": f"{look.label}, {when}", "mfc": face or look.color}
        right.plot(mean.index, mean, **named, ls=line)
        small = look.points | {"ms": 2.5, "alpha": 0.5, "mfc": face or look.color}
        right.plot(own["purity"], own["value"], **small)
    right.set(ylim=(0, 1.03), ylabel="share of |dL/dY|² blocked", title="blocked by BN")
    for axes in (left, right):
        axes.set_xlabel("purity of the training batches")
    left.legend(loc="lower left", bbox_to_anchor=(0, 0.12))
    right.legend(loc="upper left")
    drawn = pd.concat(
        [accuracy.assign(quantity="test accuracy"), shares.assign(quantity="blocked share")],
        ignore_index=True,
    )
    return figure, drawn[["quantity", "when", "norm", "purity", "seed", "value"]]


def purity_table(results: pd.DataFrame) -> pd.DataFrame:
    """The same as numbers, mean and range over the seeds: one row per purity."""
    accuracy = final_values(results, "test.eval.accuracy", ["purity"])
    columns = {
        f"accuracy, {LOOKS[norm].label}": where(accuracy, norm=norm) for norm in norms_in(accuracy)
    }
    shares = blocked_shares(results)
    columns |= {f"blocked by BN {when}": rows for when, rows in shares.groupby("when", sort=False)}
    return pd.DataFrame(
        {
            name: rows.groupby("purity")["value"].agg(spread, digits=".2f")
            for name, rows in columns.items()
        }
    ).reset_index()
