"""Figures of the derivative analysis."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnblind.figures.naming import (
    batch_title,
    batching_title,
    batchings_in,
    in_order,
    model_title,
    norms_in,
    rows_in_order,
    where,
    with_labels,
)
from bnblind.figures.outcomes import draw_interval
from bnblind.figures.panels import draw_shares, legend_below, panel_grid, title_columns
from bnblind.figures.style import COLUMN, FLOOR, LOOKS, TERM_LABELS
from bnblind.probe_figures import SHARES

PROBED = ("label", "random")
"""Batchings that were probed, in the order of the panels; others follow."""
TERM_COLORS = {"first": "#4477AA", "diag": "#EE6677", "offdiag": "#228833", "remainder": "#CCBB44"}
"""No norm has them; Tol's bright scheme, which is safe for colour-blind readers."""


READ_FROM = 1e-6
"""Smaller shares are drawn as this."""


def defined(terms: pd.DataFrame) -> pd.DataFrame:
    """The rows whose expansion point is on no kink; elsewhere the terms are undefined."""
    return terms[terms["kinks"] == 0]


def _lengths(terms: pd.DataFrame, term: str) -> pd.DataFrame:
    """Length of a term's gradient after and before the layer, as shares of the whole after it."""
    arrives = terms[f"y.{term}.{term}"] / terms["y.total.total"]
    passes = arrives * terms[f"passing.{term}"]
    return terms[["norm", "probed", "epoch", "seed"]].assign(
        term=term, arrives=np.sqrt(arrives), passes=np.sqrt(passes)
    )


def terms_along_training(terms: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Each term's gradient after and before one layer, against the epoch.

    Args:
        terms: splits of one layer, trained on one batching; a panel for each norm in it and
            each batching that was probed. Median over seeds and batches.
    """
    terms = defined(terms)
    drawn = pd.concat([_lengths(terms, term) for term in TERM_COLORS], ignore_index=True)
    keys = ["norm", "probed", "term", "epoch"]
    drawn = drawn.groupby(keys, sort=True)[["arrives", "passes"]].median().reset_index()
    lengths = drawn[["arrives", "passes"]].to_numpy()
    lowest, highest = np.nanmin(lengths), np.nanmax(lengths)
    norms = norms_in(drawn)
    probed = in_order(drawn["probed"], PROBED)
    height = 0.62 * COLUMN * len(probed) + 0.5
    figure, panels = panel_grid(len(probed), len(norms), height, sharex=True, sharey=True)
    for row, batching in zip(panels, probed, strict=True):
        for axes, norm in zip(row, norms, strict=True):
            _draw_terms(axes, where(drawn, norm=norm, probed=batching))
            axes.set(yscale="log", ylim=(max(lowest / 5, FLOOR / 3), max(3 * highest, 30)))
        row[0].set_ylabel(f"{batch_title(batching)}\nlength / |dL/dY|")
    title_columns(panels, [textwrap.fill(LOOKS[norm].label, 14) for norm in norms])
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    handles = [
        Line2D([], [], color=color, label=TERM_LABELS[term]) for term, color in TERM_COLORS.items()
    ]
    handles += [
        Line2D([], [], color="black", ls=":", label="after the norm"),
        Line2D([], [], color="black", marker="o", label="before it, times sigma"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    return figure, drawn


def _draw_terms(axes: Axes, rows: pd.DataFrame) -> None:
    for term, color in TERM_COLORS.items():
        line = where(rows, term=term)
        axes.plot(line["epoch"], line["arrives"].clip(lower=FLOOR), color=color, ls=":")
        axes.plot(line["epoch"], line["passes"].clip(lower=FLOOR), color=color, marker="o", ms=3)


def blocked_by_layer(blocked: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What each batch norm of a network blocks of the whole gradient, before and after training on
    each kind of batch.

    Args:
        blocked: columns layer, seed, batching, epoch, probed, mean_share, scale_share, passing;
            layers in the network's order. Mean over seeds and batches.
    """
    layers = list(dict.fromkeys(blocked["layer"]))
    last = blocked["epoch"].max()
    probed = in_order(blocked["probed"], PROBED)
    starts = blocked["epoch"] == blocked["epoch"].min()
    when = blocked["batching"].map(batching_title).mask(starts, "before training")
    rows = blocked.assign(when=when)[starts | (blocked["epoch"] == last)]
    titles = map(batching_title, in_order(blocked["batching"], PROBED))
    stages = [stage for stage in ("before training", *titles) if stage in set(rows["when"])]
    # The start is the same for every batching.
    first = rows["batching"] == rows["batching"].iloc[0]
    rows = rows[first | (rows["epoch"] == last)]
    keys = ["probed", "batching", "layer", "epoch", "when"]
    drawn = rows.groupby(keys, sort=False)[list(SHARES)].mean().reset_index()
    places = [(layer, stage) for layer in layers for stage in stages]
    figure, panels = panel_grid(1, len(probed), 0.6 + 0.25 * len(places), sharey=True)
    labels = [f"norm {layers.index(layer) + 1}, {stage}" for layer, stage in places]
    for axes, batching in zip(panels[0], probed, strict=True):
        chosen = where(drawn, probed=batching).set_index(["layer", "when"]).loc[places]
        draw_shares(axes, labels, chosen, height=0.7)
        axes.set(xlabel="share of |dL/dY|²", title=batch_title(batching))
    panels[0][0].invert_yaxis()
    legend_below(figure, panels[0][0])
    return figure, drawn


def blocked_by_term(terms: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What batch norms block of the first-order term, of the diagonal and of the whole gradient.

    Args:
        terms: splits at batch norms, with a column ``place`` that names the layer; a row a
            place. Mean over seeds and batches.
    """
    titles = {"first": "first-order term", "diag": "diagonal term", "total": "whole gradient"}
    terms = defined(terms)
    parts = []
    for term in titles:
        shares = {name: terms[f"{name.removesuffix('_share')}.{term}"] for name in SHARES}
        parts.append(terms[[*WHERE, "place"]].assign(term=term, **shares))
    keys = ["term", *WHERE, "place"]
    drawn = pd.concat(parts).groupby(keys, sort=False)[list(SHARES)].mean().reset_index()
    places = list(dict.fromkeys(drawn["place"]))
    figure, panels = panel_grid(1, len(titles), 0.8 + 0.24 * len(places), sharey=True)
    for axes, (term, title) in zip(panels[0], titles.items(), strict=True):
        chosen = where(drawn, term=term).set_index("place").loc[places]
        draw_shares(axes, places, chosen, height=0.7)
        axes.set(title=title, xlabel="share of its |gradient|²")
    panels[0][0].invert_yaxis()
    legend_below(figure, panels[0][0])
    return figure, drawn


WHERE = ("norm", "batching", "probed", "layer", "epoch")
"""What tells splits of one grid apart, but for the batch and the seed."""

READINGS = {
    "passing.second": ("of their sum", "#EE6677", "o"),
    "passing.parts": ("of both, counted separately", "#228833", "s"),
    "of_whole.second": ("of the whole gradient", "#4477AA", "D"),
}
"""Three readings of what passes of the second-order terms: label, colour and marker."""


def called(splits: Mapping[str, pd.DataFrame], models: Mapping[str, str]) -> dict[str, str]:
    """What the network of each grid is called, with its seeds where two grids have the same one."""
    names = {grid: model_title(models[grid]) for grid in splits}
    ends = {grid: table["seed"].agg(["min", "max"]) for grid, table in splits.items()}
    return {
        grid: f"{name}, seeds {ends[grid]['min']} to {ends[grid]['max']}"
        if [*names.values()].count(name) > 1
        else name
        for grid, name in names.items()
    }


def places_in(splits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The splits at batch norms of label-pure batches, before training and after it on each kind of
    batch, with a column ``place`` that says so: ``head, norm 1, trained on random batches``.

    Args:
        splits: those of each network, by what it is called.
    """
    places = []
    for network, table in splits.items():
        bn = where(table, norm="bn", probed="label")
        names = list(dict.fromkeys(bn["layer"]))
        for batching in batchings_in(bn)[::-1]:
            own = where(bn, batching=batching)
            start = [own["epoch"].min()] if batching == "label" else []  # the same for any batching
            for epoch in [*start, own["epoch"].max()]:
                stage = batching_title(batching) if epoch else "before training"
                rows = where(own, epoch=epoch)
                named = {name: f"{network}, norm {k}, {stage}" for k, name in enumerate(names, 1)}
                places.append(rows.assign(place=rows["layer"].map(named)))
    return pd.concat(places, ignore_index=True)


def second_order_readings(terms: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What passes batch norms of the second-order terms, read in three ways.

    Args:
        terms: splits at batch norms of label-pure batches, with a column ``place`` that names layer
            and training, a row a place. Mean over batches; small: each seed.
    """
    terms = defined(terms)
    keys = [*WHERE, "place", "seed"]
    drawn = terms.groupby(keys, sort=False)[list(READINGS)].mean().reset_index()
    places = list(dict.fromkeys(drawn["place"]))
    figure, axes = plt.subplots(figsize=(2 * COLUMN, 0.8 + 0.3 * len(places)))
    for number, (column, (label, color, marker)) in enumerate(READINGS.items()):
        for at, place in enumerate(places):
            values = where(drawn, place=place)[column].clip(lower=READ_FROM)
            marks: dict[str, Any] = {
                "color": color,
                "marker": marker,
                "label": None if at else label,
            }
            draw_interval(axes, [*values], at + (number - 1) * 0.25, 0, **marks)
    axes.set(xscale="log", xlim=(READ_FROM / 2, 1.5), xlabel="share that passes (squared lengths)")
    axes.set_yticks(range(len(places)), places)
    axes.invert_yaxis()
    legend_below(figure, axes)
    return figure, drawn


def passing_table(terms: pd.DataFrame) -> pd.DataFrame:
    """Share of each term's squared gradient that passes, label-pure batches, last epoch.

    Args:
        terms: splits of one grid; those trained and probed on label-pure batches are taken.

    Returns:
        One row per (norm, layer): mean over seeds and batches of each term.
    """
    pure = where(terms, batching="label", probed="label")
    last = defined(where(pure, epoch=pure["epoch"].max()))
    layers = list(dict.fromkeys(last["layer"]))
    shares = {f"passing.{term}": TERM_LABELS[term] for term in (*TERM_COLORS, "second", "total")}
    shares |= {"passing.parts": "second order, parts", "of_whole.second": "second order of whole"}
    means = last.groupby(["norm", "layer"])[list(shares)].mean().rename(columns=shares)
    table = rows_in_order(means.reset_index(), {"norm": LOOKS, "layer": layers})
    places = {layer: number for number, layer in enumerate(layers, 1)}
    return with_labels(table.assign(layer=table["layer"].map(places)))


def cosines(terms: pd.DataFrame) -> pd.DataFrame:
    """Cosines between the terms' gradients after and before the layer, last epoch.

    Args:
        terms: splits of one grid and norm. Label-pure probes are taken; mean over the rest.
    """
    rows = defined(where(terms, probed="label"))
    rows = where(rows, epoch=rows["epoch"].max())
    names = list(TERM_COLORS)
    table = []
    for number, (_, chosen) in enumerate(rows.groupby("layer", sort=False), 1):
        for side, place in (("y", "after the norm"), ("x", "before it")):
            for i, a in enumerate(names[1:], 1):
                row = {"layer": number, "where": place, "term": TERM_LABELS[a]}
                for b in names[:i]:
                    lengths = chosen[f"{side}.{a}.{a}"] * chosen[f"{side}.{b}.{b}"]
                    row[TERM_LABELS[b]] = (chosen[f"{side}.{b}.{a}"] / np.sqrt(lengths)).mean()
                table.append(row)
    return pd.DataFrame(table)
