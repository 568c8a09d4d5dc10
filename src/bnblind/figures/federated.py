"""Figure and table of federated averaging."""

import pandas as pd
from matplotlib.figure import Figure

from bnblind.figures.naming import interval_text, norms_in, where, with_labels
from bnblind.figures.outcomes import draw_interval, outcomes
from bnblind.figures.panels import accuracy_axes, name_fills, panel_grid, title_columns
from bnblind.figures.style import LOOKS

KINDS = {"test.eval.accuracy": "as averaged", "test.recalibrated.accuracy": "recalibrated"}


def accuracies(results: pd.DataFrame, chance: float) -> pd.DataFrame:
    """Test accuracy of each run, mean of its last three rounds, with averaged statistics and, of
    norms for which it makes a difference, with recalibrated ones (column ``kind``).
    """
    parts = [
        outcomes(results, chance, metric).assign(kind=kind, metric=metric)
        for metric, kind in KINDS.items()
    ]
    averaged, recalibrated = parts
    differs = recalibrated[recalibrated["value"] != averaged["value"]]["norm"]
    shown = recalibrated[recalibrated["norm"].isin(differs)]
    return pd.concat([averaged, shown], ignore_index=True)


def accuracies_figure(results: pd.DataFrame, classes: int) -> tuple[Figure, pd.DataFrame]:
    """Test accuracy by norm, a panel for each number of classes per client; ``results`` are the
    runs of one grid in long form.
    """
    drawn = accuracies(results, 1 / classes)
    counts, norms = sorted(drawn["classes_per_client"].unique()), norms_in(drawn)
    figure, panels = panel_grid(1, len(counts), 0.8 + 0.26 * len(norms), sharey=True)
    for axes, count in zip(panels[0], counts, strict=True):
        for place, norm in enumerate(norms):
            look = LOOKS[norm]
            of_norm = where(drawn, norm=norm, classes_per_client=count)
            for kind, own in of_norm.groupby("kind"):
                shift = 0.0 if kind == "as averaged" else 0.45
                face = "white" if shift else look.color
                draw_interval(axes, own, place + shift, 0.18, **look.points, mfc=face)
    accuracy_axes(panels[0], classes)
    panels[0][0].set_yticks(range(len(norms)), [LOOKS[norm].label for norm in norms])
    panels[0][0].set_ylim(len(norms) - 0.3, -0.7)
    title_columns(panels, map(_per_client, counts))
    name_fills(figure, ["statistics as averaged", "recalibrated"])
    return figure, drawn


def _per_client(count: int) -> str:
    return "1 class per client" if count == 1 else f"{count} classes per client"


def accuracies_table(results: pd.DataFrame, classes: int) -> pd.DataFrame:
    """Mean (95 % t interval): one row for each norm and kind of statistics."""
    drawn = accuracies(results, 1 / classes)
    cells = drawn.groupby(["norm", "kind", "classes_per_client"])["value"].agg(interval_text)
    table = cells.unstack("classes_per_client").loc[norms_in(drawn)].reset_index()
    counts = {n: _per_client(n) for n in sorted(drawn["classes_per_client"].unique())}
    table = with_labels(table).rename(columns={"kind": "statistics", **counts})
    return table.rename_axis(None, axis=1)
