"""Figures of the GANs: distances, what is blocked along training, and images."""

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from bnblind.experiments.gans.cell import FEEDS
from bnblind.figures.naming import interval_text, norms_in, where
from bnblind.figures.outcomes import draw_interval
from bnblind.figures.panels import (
    LEVEL,
    draw_band,
    legend_below,
    log_scale,
    name_fills,
    panel_grid,
    title_columns,
)
from bnblind.figures.style import COLUMN, LOOKS


def last_distances(results: pd.DataFrame) -> pd.DataFrame:
    """The Fréchet distance after each run's last epoch, of runs that did not diverge: norm, feed,
    seed, value.
    """
    rows = results[results["metric"] == "test.frechet"]
    whole = rows["epoch"] == rows["epoch"].max()
    return rows.loc[whole, ["norm", "feed", "seed", "epoch", "metric", "value"]]


def _rows(drawn: pd.DataFrame) -> list[tuple[str, str]]:
    """Norm and feed of each row of the figures."""
    found = {*zip(drawn["norm"], drawn["feed"], strict=True)}
    return [(norm, feed) for norm in norms_in(drawn) for feed in FEEDS if (norm, feed) in found]


def distances_figure(results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Where each norm and feed ended; ``results`` are the runs of one grid in long form."""
    drawn = last_distances(results)
    rows = _rows(drawn)
    figure, axes = plt.subplots(figsize=(1.5 * COLUMN, 0.6 + 0.27 * len(rows)))
    for place, (norm, feed) in enumerate(rows):
        look, own = LOOKS[norm], where(drawn, norm=norm, feed=feed)
        face = look.color if feed == "apart" else "white"
        draw_interval(axes, own, place, **look.points, mfc=face)
    floor = results.loc[results["metric"] == "real.frechet", "value"].mean()
    axes.axvline(floor, **LEVEL)
    real = Line2D([], [], **LEVEL, label="real training images")
    name_fills(figure, ["images apart", "images mixed"], real)
    log_scale(axes, "x")
    axes.set_xlabel("Fréchet distance from test images")
    axes.set_yticks(range(len(rows)), [f"{LOOKS[norm].label}, {feed}" for norm, feed in rows])
    axes.invert_yaxis()
    return figure, drawn


def blocked_figure(results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What the discriminator's last norm blocks, against the epoch; a panel for each feed."""
    drawn = results[results["metric"] == "discriminator.blocked"]
    feeds = [feed for feed in FEEDS if feed in set(drawn["feed"])]
    figure, panels = panel_grid(1, len(feeds), 0.8 * COLUMN, sharey=True)
    for axes, feed in zip(panels[0], feeds, strict=True):
        rows = where(drawn, feed=feed)
        for norm in norms_in(rows):
            draw_band(axes, where(rows, norm=norm), "epoch", **LOOKS[norm].line)
        axes.set(xlabel="epoch", ylim=(0, 1.03))
    title_columns(panels, [f"real and generated images {feed}" for feed in feeds])
    panels[0][0].set_ylabel("share of the squared gradient blocked")
    legend_below(figure, panels[0][0], 3)
    return figure, drawn


def samples_figure(images: Mapping[tuple[str, str], Tensor]) -> tuple[Figure, pd.DataFrame]:
    """Images by norm and feed, (n, 1, H, W) from 0 to 1 each."""
    lines = ceil(len(images) / 3)
    figure, panels = panel_grid(lines, 3, 0.55 * lines + 0.2)
    for axes in panels.flat:
        axes.set_axis_off()
    rows = []
    for axes, ((norm, feed), drawn) in zip(panels.flat, images.items(), strict=False):
        strip = np.concatenate([*drawn[:8, 0].numpy()], axis=1)
        axes.imshow(strip, cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"{LOOKS[norm].label}, {feed}", fontsize=7)
        rows.append({"norm": norm, "feed": feed, "mean": float(drawn.mean())})
    return figure, pd.DataFrame(rows)


def distances_table(results: pd.DataFrame) -> pd.DataFrame:
    """Mean (95 % t interval) of the last distance and, before and after training, of what is
    blocked: one row for each norm and feed.
    """
    drawn, table = last_distances(results), []
    blocked = results[results["metric"] == "discriminator.blocked"]
    for norm, feed in _rows(drawn):
        values = where(drawn, norm=norm, feed=feed)["value"]
        own = where(blocked, norm=norm, feed=feed)
        row = {"norm": LOOKS[norm].label, "images": feed}
        row["Fréchet distance"] = interval_text(values, ".1f")
        for name, epoch in (("before", own["epoch"].min()), ("after", own["epoch"].max())):
            row[f"blocked {name} training"] = own.loc[own["epoch"] == epoch, "value"].mean()
        table.append(row)
    return pd.DataFrame(table)


def shown_samples(
    files: Iterable[tuple[Mapping[str, Tensor], Mapping[str, Any]]],
) -> dict[tuple[str, str], Tensor]:
    """The first seed's images of each norm and feed, from the contents of files of samples."""
    found: dict[tuple[str, str], Tensor] = {}
    for tensors, description in files:
        for name in sorted(tensors, key=_seed):
            cell = description["cells"][name.partition("/")[0]]
            found.setdefault((cell["norm"], cell["feed"]), tensors[name])
    order = [(norm, feed) for norm in LOOKS for feed in FEEDS]
    return {key: found[key] for key in order if key in found}


def _seed(name: str) -> int:
    """Of an image called ``CELL/seedN/generated``."""
    return int(name.split("/")[1].removeprefix("seed"))
