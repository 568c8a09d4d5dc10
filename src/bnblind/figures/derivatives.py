"""Figures of the derivative analysis."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnblind.figures.naming import (
    SHORT_BATCHES,
    batch_title,
    batching_title,
    batchings_in,
    in_order,
    norms_in,
    rows_in_order,
    where,
    with_labels,
)
from bnblind.figures.panels import (
    draw_band,
    draw_shares,
    grouped_places,
    legend_below,
    log_scale,
    name_groups,
    panel_grid,
    title_columns,
)
from bnblind.figures.style import FLOOR, LOOKS, TERM_COLORS, TERM_LABELS
from bnblind.probe_figures import SHARES

PROBED = ("label", "random")
"""Batchings that were probed, in the order of the panels; others follow."""
PLACES = {2: ("first norm", "last norm"), 3: ("first norm", "middle norm", "last norm")}
"""What the norms are called that were split, of which a deep network has more between them."""
READ_FROM = 1e-6
"""Smaller shares are drawn as this."""


def defined(terms: pd.DataFrame) -> pd.DataFrame:
    """The rows whose expansion point is on no kink; elsewhere the terms are undefined."""
    return terms[terms["kinks"] == 0]


def _lengths(terms: pd.DataFrame, term: str) -> pd.DataFrame:
    """Length of a term's gradient after and before the layer, as shares of the whole after it."""
    arrives = terms[f"y.{term}.{term}"] / terms["y.total.total"]
    passes = arrives * terms[f"passing.{term}"]
    return terms[["network", "norm", "epoch", "seed"]].assign(
        term=term, arrives=np.sqrt(arrives), passes=np.sqrt(passes)
    )


def terms_along_training(splits: Mapping[str, pd.DataFrame]) -> tuple[Figure, pd.DataFrame]:
    """Each term's gradient after and before the first norm, against the epoch; a panel for each
    network and norm. Of the ``splits``, by what each network is called, those trained on label-pure
    batches and probed with such are drawn. Mean over seeds and batches.
    """
    first = [
        where(own, layer=own["layer"].iloc[0], batching="label", probed="label").assign(
            network=name
        )
        for name, own in splits.items()
    ]
    terms = defined(pd.concat(first))
    lengths = pd.concat([_lengths(terms, term) for term in TERM_COLORS], ignore_index=True)
    keys = ["network", "norm", "term", "epoch"]
    drawn = lengths.groupby(keys, sort=False)[["arrives", "passes"]].mean().reset_index()
    highest = drawn[["arrives", "passes"]].to_numpy().max()
    cases = [(name, norm) for name in splits for norm in norms_in(where(drawn, network=name))]
    columns = min(5, len(cases))
    rows = -(-len(cases) // columns)
    figure, panels = panel_grid(rows, columns, 0.8 + 1.5 * rows, sharey=True)
    for axes in panels.flat[len(cases) :]:
        axes.set_visible(False)
    for axes, (name, norm) in zip(panels.flat, cases, strict=False):
        _draw_terms(axes, where(drawn, network=name, norm=norm))
        log_scale(axes, "y")
        axes.set_ylim(FLOOR / 3, max(3, 2 * highest))
        axes.set_title(f"{name}, {LOOKS[norm].label}".replace(", ", ",\n"), fontsize=7)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    for row in panels:
        row[0].set_ylabel("length / |dL/dY|")
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


def _draw_cut(
    drawn: pd.DataFrame, rows: list[tuple[str, str]], by: str, titles: Mapping[str, str]
) -> Figure:
    """Bars cut into the shares that are blocked and that pass: a row for each (network, place), a
    panel for each value of the column ``by`` that has a title.
    """
    places = grouped_places(rows)
    height = 0.8 + 0.17 * max(places.values())
    figure, panels = panel_grid(1, len(titles), height, sharey=True)
    for axes, (value, title) in zip(panels[0], titles.items(), strict=True):
        own = drawn[drawn[by] == value].set_index(["network", "place"]).loc[rows]
        draw_shares(axes, [*places.values()], own, height=0.8)
        axes.set(title=title, xlabel="share of |gradient|²")
    name_groups(panels[0][0], places)
    legend_below(figure, panels[0][0])
    return figure


def blocked_by_layer(blocked: Mapping[str, pd.DataFrame]) -> tuple[Figure, pd.DataFrame]:
    """What each batch norm blocks of the whole gradient, before and after training on each kind of
    batch; a panel for each kind of batch that was probed. ``blocked``: what each network is called
    -> its table, layers in its order. Mean over seeds and batches.
    """
    probed = in_order(pd.concat(blocked.values())["probed"], PROBED)
    drawn = pd.concat([_at_places(name, table) for name, table in blocked.items()])
    keys = ["network", "place", "probed", "batching", "layer", "epoch", "when"]
    drawn = drawn.groupby(keys, sort=False)[list(SHARES)].mean().reset_index()
    rows = [*dict.fromkeys(zip(drawn["network"], drawn["place"], strict=True))]
    return _draw_cut(drawn, rows, "probed", {name: batch_title(name) for name in probed}), drawn


def _at_places(network: str, table: pd.DataFrame) -> pd.DataFrame:
    """The rows before training, which is the same for any batching, and after it, with columns
    ``network``, ``when`` and ``place``, which names layer and training.
    """
    layers = list(dict.fromkeys(table["layer"]))
    first = in_order(table["batching"], PROBED)[0]
    start, end = table["epoch"].min(), table["epoch"].max()
    stages = [("before training", first, start)]
    stages += [(batching_title(b), b, end) for b in in_order(table["batching"], PROBED)]
    parts = [
        where(table, layer=layer, batching=batching, epoch=epoch).assign(
            network=network, when=when, place=f"norm {number}, {when}"
        )
        for number, layer in enumerate(layers, 1)
        for when, batching, epoch in stages
    ]
    return pd.concat(parts)


TERMS = {"first": "first-order term", "diag": "diagonal term", "total": "whole gradient"}


def blocked_by_term(splits: Mapping[str, pd.DataFrame]) -> tuple[Figure, pd.DataFrame]:
    """What batch norms block of the first-order term, of the diagonal and of the whole gradient of
    label-pure batches, after training; ``splits`` by what each network is called. Mean over seeds
    and batches.
    """
    bn = {name: where(own, norm="bn", probed="label") for name, own in splits.items()}
    parts = [_at_places(name, own) for name, own in bn.items()]
    terms = defined(pd.concat(parts))
    terms = terms[terms["epoch"] > 0]
    keys = ["term", *WHERE, "network", "place"]
    cut = []
    for term in TERMS:
        shares = {name: terms[f"{name.removesuffix('_share')}.{term}"] for name in SHARES}
        cut.append(terms[[*WHERE, "network", "place"]].assign(term=term, **shares))
    drawn = pd.concat(cut).groupby(keys, sort=False)[list(SHARES)].mean().reset_index()
    rows = [*dict.fromkeys(zip(drawn["network"], drawn["place"], strict=True))]
    return _draw_cut(drawn, rows, "term", TERMS), drawn


WHERE = ("norm", "batching", "probed", "layer", "epoch")
"""What tells splits of one grid apart, but for the batch and the seed."""

READINGS = {
    "passing.second": ("of the terms' sum", TERM_COLORS["diag"], "o", 5),
    "passing.parts": ("of both terms, counted separately", TERM_COLORS["offdiag"], "s", 3),
    "of_whole.second": ("relative to the whole gradient", TERM_COLORS["first"], "D", 3),
}
"""Three readings of what passes of the second-order terms: label, colour, marker and its size."""


def readings_along_training(splits: Mapping[str, pd.DataFrame]) -> tuple[Figure, pd.DataFrame]:
    """What passes batch norms of the second-order terms, read in three ways, against the epoch: a
    row of panels for each batch norm, a column for each kind of batch in training and each probed;
    ``splits`` by what each network is called. Mean over batches.
    """
    parts = [where(own, norm="bn").assign(network=name) for name, own in splits.items()]
    terms = defined(pd.concat(parts))
    keys = ["network", *WHERE, "seed"]
    drawn = terms.groupby(keys, sort=False)[list(READINGS)].mean().reset_index()
    norms = [*dict.fromkeys(zip(drawn["network"], drawn["layer"], strict=True))]
    columns = [*product(batchings_in(drawn)[::-1], in_order(drawn["probed"], PROBED))]
    highest = drawn[list(READINGS)].to_numpy().max()
    height = 0.9 + 0.95 * len(norms)
    figure, panels = panel_grid(len(norms), len(columns), height, sharey=True)
    for row, (network, layer) in zip(panels, norms, strict=True):
        of_norm = where(drawn, network=network, layer=layer)
        for axes, (batching, probed) in zip(row, columns, strict=True):
            _draw_readings(axes, where(of_norm, batching=batching, probed=probed))
            margin = 0.07 * of_norm["epoch"].max()
            axes.set_xlim(-margin, of_norm["epoch"].max() + margin)
            axes.set_ylim(READ_FROM / 2, max(2, 2 * highest))
        layers = [own for name, own in norms if name == network]
        places = PLACES.get(len(layers)) or [f"norm {n + 1}" for n in range(len(layers))]
        name = f"{network},\n{places[layers.index(layer)]}".replace(", ", ",\n")
        row[0].set_ylabel(name, weight="bold", fontsize=7)
    short = [[SHORT_BATCHES.get(name, name) for name in both] for both in columns]
    title_columns(panels, ["trained: {}\nprobed: {}".format(*both) for both in short])
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    figure.supylabel("what passes of the second-order terms (squared lengths)", fontsize=8)
    legend_below(figure, panels[0][0])
    return figure, drawn


def _draw_readings(axes: Axes, rows: pd.DataFrame) -> None:
    for column, (label, color, marker, size) in READINGS.items():
        own = rows.assign(value=rows[column].clip(lower=READ_FROM))
        look = {"color": color, "marker": marker, "label": label, "ms": size}
        draw_band(axes, own, "epoch", READ_FROM, **look)
    log_scale(axes, "y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))


def passing_table(terms: pd.DataFrame) -> pd.DataFrame:
    """Share of each term's squared gradient that passes, of one grid's networks that were trained
    and probed on label-pure batches, last epoch: one row per (norm, layer), mean over seeds and
    batches.
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
    """Cosines between the terms' gradients after and before the layer, last epoch, of the splits of
    one grid and norm; label-pure probes are taken, mean over the rest.
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
