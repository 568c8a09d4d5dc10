"""Where the claims hold: tables and a figure across experiments."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bnblind.experiments.intervals import t_interval
from bnblind.figures.classification import MODE_TITLES, last_epochs
from bnblind.figures.naming import (
    comparison_in,
    identity_in,
    norms_in,
    rows_in_order,
    spread,
    where,
    with_labels,
)
from bnblind.figures.panels import mark_level
from bnblind.figures.rates import with_the_grid
from bnblind.figures.style import COLUMN, LOOKS

MODES = {f"test.{mode}.accuracy": title for mode, title in MODE_TITLES.items()}


def erasure_table(terms: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """What each norm blocks in the networks trained on label-pure batches, and where they ended.

    Args:
        terms: the splits at the one norm of a model; probed on label-pure batches, last epoch.
        results: training runs, in long form.

    Returns:
        norm, seed, passing (share of the first-order term's squared gradient, mean over
        batches), loss (nats), accuracy; one row per (norm, seed).
    """
    pure = where(terms, batching="label", probed="label")
    pure = where(pure, kinks=0, epoch=pure["epoch"].max())
    run = [*identity_in(pure), "seed"]
    shares = pure.groupby(run)["passing.first"].mean().rename("passing").reset_index()
    last = last_epochs(where(results, batching="label"))
    names = {"train.loss": "loss", "test.eval.accuracy": "accuracy"}
    rows = last[last["metric"].isin(names)].pivot(index=run, columns="metric", values="value")
    table = shares.merge(rows.rename(columns=names).reset_index(), on=run)
    return table[["norm", "seed", "passing", "loss", "accuracy"]]


def erasure_figure(table: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Test accuracy after label-pure batches, norms in order of the first-order share passing.

    Args:
        table: as :func:`erasure_table` gives it. A point per seed; below each norm, the share.
        classes: of the data set, for the line at chance.
    """
    figure, axes = plt.subplots(figsize=(1.5 * COLUMN, 0.9 * COLUMN))
    # Shares that differ by rounding stay in the norms' usual order.
    shares = table.groupby("norm")["passing"].mean().round(3)
    norms = sorted(norms_in(table), key=lambda norm: shares[norm])
    for x, norm in enumerate(norms):
        rows = where(table, norm=norm)
        axes.plot([x] * len(rows), rows["accuracy"], **LOOKS[norm].line, ls="")
    axes.set(
        xticks=range(len(norms)),
        xticklabels=[f"{shares[norm]:.2f}" for norm in norms],
        xlabel="of the first-order term's squared gradient passes",
        ylabel="test accuracy after\nlabel-pure batches",
        ylim=(0, 1),
    )
    axes.tick_params(axis="x", length=0)
    mark_level([axes], 1 / classes, "chance")
    if norms:
        figure.legend(loc="outside right center")
    return figure, table


def by_norm(table: pd.DataFrame, keys: list[str], columns: list[str]) -> pd.DataFrame:
    """Mean (smallest to largest) over seeds of each column, one row per combination of ``keys``."""
    found = table.groupby(keys, sort=False)[columns].agg(spread).reset_index()
    return with_labels(rows_in_order(found, {"norm": LOOKS}))


def modes_table(results: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy of BN in the three modes: one row per (data set, model, rate, batches)."""
    rows = results[(results["norm"] == "bn") & results["metric"].isin(MODES)]
    rows = last_epochs(rows)
    keys = [*comparison_in(rows), "batching", "metric"]
    found = rows.groupby(keys, sort=False)["value"].agg(spread)
    table = found.unstack("metric")[list(MODES)].rename(columns=MODES)
    return table.reset_index().rename_axis(None, axis=1)


def rates_table(rates: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Final test accuracy against the learning rate: one row per (data set, model, batches, rate).

    Args:
        rates: the ablation, in long form.
        results: all grids, in the same form: the same networks at the grids' own rates.
    """
    keys = [name for name in comparison_in(rates) if name != "lr"]
    rates = pd.concat([rates[:0], *(with_the_grid(of, results) for _, of in rates.groupby(keys))])
    rows = last_epochs(rates[rates["metric"] == "test.eval.accuracy"])
    found = rows.groupby([*keys, "batching", "lr", "norm"])["value"].agg(spread)
    table = found.unstack("norm")
    table = table[norms_in(rows)].rename(columns=lambda norm: LOOKS[norm].label)
    return table.reset_index().rename_axis(None, axis=1)


def gaps_table(flows: pd.DataFrame) -> pd.DataFrame:
    """Real minus mixed log-likelihood of test images, nats, mean over the seeds (95 % t
    interval): one row per (coupling, its norm, pair, batches, norm).
    """
    names = {
        "test.plain.gap": "running statistics",
        "test.recalibrated.gap": "recalibrated statistics",
    }
    rows = flows[flows["metric"].isin(names)].assign(metric=lambda t: t["metric"].map(names))
    keys = ["coupling", "coupling_norm", "pair", "batching", "norm"]
    found = rows.groupby([*keys, "metric"], sort=False)["value"]
    text = found.agg(
        lambda values: "{:.1f} ({:.1f} to {:.1f})".format(*t_interval(values.tolist()))
    )
    table = text.unstack("metric")[list(names.values())].reset_index().rename_axis(None, axis=1)
    return with_labels(table)
