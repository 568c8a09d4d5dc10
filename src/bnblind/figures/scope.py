"""Where the claims hold: tables and a figure across experiments."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bnblind.figures.classification import last_epochs
from bnblind.figures.seeds import mark_level
from bnblind.figures.style import COLUMN, FLOOR, LOOKS

MODES = {
    "test.eval.accuracy": "evaluation mode",
    "test.random.accuracy": "training mode, random batches",
    "test.label.accuracy": "training mode, label-pure batches",
}


def erasure_table(passing: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """For each norm, what it blocks, and what training on label-pure batches ends at.

    Args:
        passing: the theorem check's shares; first-order term at eps = 0, y0 = 0, median.
        results: runs of one model, in long form; those on ``label`` batches are taken.

    Returns:
        norm, passing, loss (nats), accuracy; a row a (norm, seed).
    """
    shares = passing[
        (passing["term"] == "first") & (passing["eps"] == 0) & (passing["y0"] == "zero")
    ]
    medians = shares.groupby("norm")["passing"].median()
    last = last_epochs(results[results["batching"] == "label"])
    names = {"train.loss": "loss", "test.eval.accuracy": "accuracy"}
    rows = last[last["metric"].isin(names)].pivot(
        index=["norm", "seed"], columns="metric", values="value"
    )
    table = rows.rename(columns=names).reset_index()
    return table.assign(passing=table["norm"].map(medians)).dropna()


def erasure_figure(table: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Test accuracy after label-pure batches against the share of first-order gradient passing.

    Args:
        table: as :func:`erasure_table` gives it. A point a seed.
        classes: of the data set, for the line at chance.
    """
    figure, axes = plt.subplots(figsize=(1.5 * COLUMN, 0.9 * COLUMN))
    norms = [norm for norm in LOOKS if norm in set(table["norm"])]
    whole = [norm for norm in norms if table.loc[table["norm"] == norm, "passing"].iloc[0] > 0.5]
    for norm in norms:
        look, rows = LOOKS[norm], table[table["norm"] == norm]
        # Where the shares are all near 1, a column of its own for each norm.
        x = float(whole.index(norm) + 1) if norm in whole else -1.0 - norms.index(norm) % 2
        axes.plot(
            [x] * len(rows),
            rows["accuracy"],
            color=look.color,
            marker=look.marker,
            linestyle="",
            label=look.label,
        )
    axes.axvline(0, color="grey", lw=0.8)
    axes.set(
        xticks=[-1.5, (len(whole) + 1) / 2],
        xticklabels=["blocked:\nnothing of it passes", "passes:\n0.5 of it or more"],
        xlabel="first-order gradient at the norm",
        ylabel="test accuracy after\nlabel-pure batches",
        ylim=(0, 1),
        xlim=(-3, len(whole) + 1),
    )
    axes.tick_params(axis="x", length=0)
    mark_level([axes], 1 / classes, "chance")
    figure.legend(loc="outside right center")
    return figure, table.assign(passing=table["passing"].clip(lower=FLOOR))


def summarized(values: pd.Series) -> str:
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


def by_norm(table: pd.DataFrame, keys: list[str], columns: list[str]) -> pd.DataFrame:
    """Mean (smallest to largest) over seeds of each column, a row a combination of ``keys``."""
    found = table.groupby(keys, sort=False)[columns].agg(summarized).reset_index()
    order = {name: i for i, name in enumerate(LOOKS)}
    found = found.sort_values("norm", key=lambda c: c.map(order), kind="stable")
    return found.assign(norm=found["norm"].map(lambda name: LOOKS[name].label))


def modes_table(results: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy of BN in the three modes: a row a (model, training batches)."""
    rows = results[(results["norm"] == "bn") & results["metric"].isin(MODES)]
    rows = last_epochs(rows)
    found = rows.groupby(["model", "batching", "metric"], sort=False)["value"].agg(summarized)
    table = found.unstack("metric")[list(MODES)].rename(columns=MODES)
    return table.reset_index().rename_axis(None, axis=1)


def rates_table(rates: pd.DataFrame) -> pd.DataFrame:
    """Final test accuracy against the learning rate: a row a (model, batches, rate)."""
    rows = last_epochs(rates[rates["metric"] == "test.eval.accuracy"])
    found = rows.groupby(["model", "batching", "lr", "norm"])["value"].agg(summarized)
    table = found.unstack("norm")
    shown = [norm for norm in LOOKS if norm in table]
    table = table[shown].rename(columns={norm: LOOKS[norm].label for norm in shown})
    return table.reset_index().rename_axis(None, axis=1)


def gaps_table(flows: pd.DataFrame) -> pd.DataFrame:
    """Real minus mixed log-likelihood of test images, nats: a row a (pair, batches, norm)."""
    names = {
        "test.plain.gap": "running statistics",
        "test.recalibrated.gap": "recalibrated statistics",
    }
    rows = flows[flows["metric"].isin(names)].assign(metric=lambda t: t["metric"].map(names))
    keys = ["coupling", "pair", "batching", "norm"]
    found = rows.groupby([*keys, "metric"], sort=False)["value"]
    text = found.agg(lambda v: f"{v.mean():.1f} ({v.min():.1f} to {v.max():.1f})")
    table = text.unstack("metric")[list(names.values())].reset_index().rename_axis(None, axis=1)
    return table.assign(norm=table["norm"].map(lambda name: LOOKS[name].label))
