"""Pictures of what a probe has measured; they need matplotlib."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHARES = {
    "mean_share": ("blocked by centering", "#663380"),
    "scale_share": ("blocked by scaling", "#339999"),
    "passing": ("passes", "#DDDDDD"),
}
"""Label and colour of the shares into which a layer divides a gradient (T4)."""


def bars(table: "pd.DataFrame") -> "Figure":
    """A bar for each layer of a probe's table, in the model's order, divided into its shares; in
    place of one that was not measured, why.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 0.8 + 0.17 * len(table)), layout="constrained")
    axes = figure.subplots()
    places, left = range(len(table)), 0 * table["passing"]
    for name, (label, color) in SHARES.items():
        axes.barh(places, table[name], left=left, color=color, label=label, height=0.8)
        left = left + table[name]
    for place, found in zip(places, table["found"], strict=True):
        if found != "measured":
            axes.text(0.01, place, found, va="center", fontsize=6, color="grey")
    axes.set_yticks(places, table["layer"])
    axes.set(xlim=(0, 1), ylim=(len(table) - 0.4, -0.6))
    axes.set_xlabel("share of the squared gradient at the standardized features")
    figure.legend(loc="outside upper center", ncols=len(SHARES), frameon=False)
    return figure


def film(history: "pd.DataFrame") -> "Figure":
    """What passes of a probe's history: a row for each layer, a column for each kept step; white
    where a layer was not reached, or gave no finite numbers.
    """
    from matplotlib.figure import Figure

    layers = list(dict.fromkeys(history["layer"]))
    passing = history.pivot(index="layer", columns="step", values="passing").loc[layers]
    figure = Figure(figsize=(6, 0.9 + 0.2 * len(layers)), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(passing, aspect="auto", vmin=0, vmax=1, interpolation="none")
    axes.set_yticks(range(len(layers)), layers)
    kept = [*passing.columns]
    ticks = sorted({round(k * (len(kept) - 1) / 4) for k in range(5)})
    axes.set_xticks(ticks, [str(kept[tick]) for tick in ticks])
    axes.set_xlabel("backward call")
    figure.colorbar(picture, label="share that passes")
    return figure
