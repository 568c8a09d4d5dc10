"""Figure and table of the norms that can take BN's place."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bnblind.experiments.words import foreign_of
from bnblind.figures.naming import batch_title, interval_text, norms_in, where
from bnblind.figures.outcomes import draw_interval, outcomes, pure_first
from bnblind.figures.panels import accuracy_axes, panel_grid, title_columns
from bnblind.figures.style import LOOKS
from bnblind.norms import Identity, RunningAverages, norm_class


def forward_passes(name: str) -> int:
    """How many passes over the features the norm takes in training, forward: one to normalize them,
    and one to take statistics of them.
    """
    norm = norm_class(name)
    if issubclass(norm, Identity):
        return 0
    takes = norm.couples_batch or norm.within_sample or issubclass(norm, RunningAverages)
    return 2 if takes else 1


def blocks(name: str) -> str:
    """Of which parts of the gradient the norm's backward pass takes a share away in training; not
    for controls that detach statistics or zero the gradient.
    """
    norm = norm_class(name)
    if norm.blocks_as_bn:
        return "mean and scale over the batch"
    if norm.couples_batch:
        return "mean over the batch" if norm.centers_batch else "scale over the batch"
    if norm.within_sample:
        return "mean or scale within a sample"
    return "nothing"


def remedies_figure(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Test accuracy under each norm, the best on label-pure batches first; a panel per batching;
    ``results`` are of one network. A run that diverged counts as chance.
    """
    drawn = outcomes(results, 1 / classes)
    batchings = pure_first(drawn)
    first = where(drawn, batching=batchings[0])
    order = first.groupby("norm")["value"].mean().sort_values(ascending=False, kind="stable").index
    figure, panels = panel_grid(1, len(batchings), 0.7 + 0.24 * len(order), sharey=True)
    for axes, batching in zip(panels[0], batchings, strict=True):
        for place, norm in enumerate(order):
            own = where(drawn, norm=norm, batching=batching)
            if len(own):  # not every norm is trained on every kind of batch
                draw_interval(axes, own, place, **LOOKS[norm].points)
    accuracy_axes(panels[0], classes)
    panels[0][0].set_yticks(range(len(order)), [LOOKS[norm].label for norm in order])
    panels[0][0].set_ylim(len(order) - 0.4, -0.7)
    title_columns(panels, map(batch_title, batchings))
    return figure, drawn


def remedies_table(results: pd.DataFrame, purity: pd.DataFrame, classes: int) -> pd.DataFrame:
    """The same as numbers, with what each norm blocks and how many passes over the features it
    takes: one row for each norm, and for BN with samples of other classes in every batch, as in
    ``purity``, runs of the same networks.
    """
    drawn, batchings = outcomes(results, 1 / classes), pure_first(results)
    after = results[(results["metric"] == "blocked") & (results["epoch"] > 0)]
    rows: list[dict[str, Any]] = []
    for norm in norms_in(drawn):
        own = where(drawn, norm=norm)
        share = where(after, norm=norm, batching=batchings[0])["value"].mean()
        rows.append(
            {"norm": LOOKS[norm].label}
            | {batch_title(b): interval_text(where(own, batching=b)["value"]) for b in batchings}
            | {"diverged": str(own["diverged"].sum()), "blocks": blocks(norm)}
            | {"blocked after training": share, "passes over the features": forward_passes(norm)}
        )
    mixed = outcomes(where(purity, norm="bn"), 1 / classes) if len(purity) else purity
    for batching in sorted({b for b in mixed.get("batching", ()) if foreign_of(b) is not None}):
        count = foreign_of(batching)
        found = interval_text(where(mixed, batching=batching)["value"])
        others = f"{count} sample{'s' * (count != 1)} of other classes per batch"
        rows.append(
            {"norm": f"{LOOKS['bn'].label}, {others}", batch_title(batchings[0]): found}
            | {"blocks": blocks("bn"), "passes over the features": forward_passes("bn")}
        )
    table = pd.DataFrame(rows)
    if not drawn["diverged"].any():
        del table["diverged"]
    return table.astype(object).fillna("")
