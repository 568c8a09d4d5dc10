"""Figures of the flow experiment: curves, interpolation, gaps and samples."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor
from torchvision.utils import make_grid

from bnblind.experiments.intervals import t_interval
from bnblind.figures.naming import (
    batch_title,
    batching_title,
    batchings_in,
    norms_in,
    rows_in_order,
    where,
    with_labels,
)
from bnblind.figures.outcomes import draw_interval
from bnblind.figures.panels import panel_grid, title_columns
from bnblind.figures.style import COLUMN, LOOKS, Look

KIND_TITLES = {"plain": "running averages", "recalibrated": "recalibrated"}


def pair_title(pair: str) -> str:
    """``9v8`` as "9 and 8"."""
    return " and ".join(pair.split("v"))


def _pairs(results: pd.DataFrame) -> list[str]:
    """In order of their classes, the highest first."""
    return sorted(results["pair"].unique(), reverse=True)


def _norm_legend(figure: Figure, norms: list[str], *others: Line2D) -> None:
    handles = [*(Line2D([], [], **LOOKS[norm].line) for norm in norms), *others]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)


def training_curves(results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Bits per dimension of training and validation images against the epoch, every seed.

    Args:
        results: columns pair, norm, batching, seed, epoch, metric, value; one data set, coupling
            and coupling norm. Rows: pairs, columns: batchings. A marker is the epoch whose
            weights are kept.
    """
    names = {"train.bits_per_dimension": ":", "validation.bits_per_dimension": "-"}
    drawn = results[results["metric"].isin(list(names)) & (results["epoch"] > 0)]
    pairs, batchings = _pairs(drawn), batchings_in(drawn)
    norms = norms_in(drawn)
    height = 0.4 + 0.62 * COLUMN * len(pairs)
    figure, panels = panel_grid(len(pairs), len(batchings), height, sharex=True, sharey="row")
    for row, pair in zip(panels, pairs, strict=True):
        of_pair = where(drawn, pair=pair)
        for axes, batching in zip(row, batchings, strict=True):
            for norm in norms:
                _draw_runs(axes, where(of_pair, batching=batching, norm=norm), norm, names)
        lowest = of_pair["value"].min()
        # The first epochs, far above, would flatten the rest.
        row[0].set_ylim(lowest - 0.05, lowest + 1.2)
        row[0].set_ylabel(f"{pair_title(pair)}\nbits per dimension")
    title_columns(panels, map(batching_title, batchings))
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    _norm_legend(
        figure,
        norms,
        Line2D([], [], color="grey", ls=":", label="training images"),
        Line2D([], [], color="grey", label="validation images"),
    )
    return figure, drawn


def _draw_runs(axes: Axes, rows: pd.DataFrame, norm: str, names: Mapping[str, str]) -> None:
    look = LOOKS[norm]
    for (_, metric), run in rows.groupby(["seed", "metric"]):
        style = names[str(metric)]
        run = run.sort_values("epoch")
        axes.plot(run["epoch"], run["value"], color=look.color, ls=style, lw=0.8, alpha=0.8)
        if style == "-":
            best = run.nsmallest(1, "value")
            axes.plot(best["epoch"], best["value"], **look.line, ms=6, mec="white")


def _views(results: pd.DataFrame) -> list[tuple[str, str]]:
    """Batching and kind of statistics, a column each."""
    return [(batching, kind) for batching in batchings_in(results) for kind in KIND_TITLES]


def _view_titles(views: list[tuple[str, str]]) -> list[str]:
    return [f"{batch_title(batching)},\n{KIND_TITLES[kind]}" for batching, kind in views]


def interpolation_curves(results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Log-likelihood of x = a x_pos + (1 - a) x_neg against a, for test images.

    Args:
        results: as in :func:`training_curves`. Line: mean over seeds of the mean over images;
            band: +-1 standard deviation over images, mean over seeds.
    """
    columns = ["pair", "norm", "batching", "share"]
    parts = []
    for kind in KIND_TITLES:
        mixed = {
            name: where(results, metric=f"test.{kind}.mixed.{name}") for name in ("mean", "sd")
        }
        table = pd.DataFrame({n: t.groupby(columns)["value"].mean() for n, t in mixed.items()})
        parts.append(table.reset_index().assign(statistics=kind))
    drawn = pd.concat(parts, ignore_index=True)
    pairs, views, norms = _pairs(drawn), _views(drawn), norms_in(drawn)
    height = 0.6 + 0.6 * COLUMN * len(pairs)
    figure, panels = panel_grid(len(pairs), len(views), height, sharey="row")
    for row, pair in zip(panels, pairs, strict=True):
        for axes, (batching, kind) in zip(row, views, strict=True):
            chosen = where(drawn, pair=pair, batching=batching, statistics=kind)
            for norm in norms:
                _draw_interpolation(axes, where(chosen, norm=norm), norm)
        row[0].set_ylabel(f"{pair_title(pair)}\nlog-likelihood (nats)")
        first, second = pair.split("v")
        for axes in row:
            axes.set_xticks([0, 0.5, 1], [f"all {second}", "half", f"all {first}"])
            axes.set_xlim(-0.08, 1.08)
    title_columns(panels, _view_titles(views))
    band = Line2D(
        [], [], color="grey", alpha=0.25, lw=6, label="one standard deviation over the images"
    )
    _norm_legend(figure, norms, band)
    return figure, drawn


def _draw_interpolation(axes: Axes, rows: pd.DataFrame, norm: str) -> None:
    look = LOOKS[norm]
    low, high = rows["mean"] - rows["sd"], rows["mean"] + rows["sd"]
    axes.fill_between(rows["share"], low, high, color=look.color, alpha=0.09, lw=0)
    for edge in (low, high):
        axes.plot(rows["share"], edge, color=look.color, lw=0.5, alpha=0.5)
    axes.plot(rows["share"], rows["mean"], color=look.color, marker=look.marker, ms=3)


def gaps(results: pd.DataFrame, metric: str = "gap") -> pd.DataFrame:
    """A figure of the test images for every run: pair, batching, statistics, norm, seed, value."""
    columns = ["pair", "batching", "norm", "seed", "value"]
    parts = [
        results.loc[results["metric"] == f"test.{kind}.{metric}", columns].assign(statistics=kind)
        for kind in KIND_TITLES
    ]
    return pd.concat(parts, ignore_index=True)


def gap_figure(results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Real minus mixed (a = 1/2) log-likelihood: each seed, and mean with 95 % t interval;
    ``results`` as in :func:`training_curves`.
    """
    drawn = gaps(results)
    pairs, views, norms = _pairs(drawn), _views(drawn), norms_in(drawn)
    figure, panels = panel_grid(1, len(pairs), 0.95 * COLUMN)
    step = 0.7 / len(norms)
    for axes, pair in zip(panels[0], pairs, strict=True):
        for i, norm in enumerate(norms):
            for place, (batching, kind) in enumerate(views):
                runs = where(drawn, pair=pair, norm=norm, batching=batching, statistics=kind)
                x = place + (i - (len(norms) - 1) / 2) * step
                _draw_interval(axes, x, runs["value"].tolist(), LOOKS[norm])
        axes.axhline(0, color="grey", lw=0.8, ls=":", zorder=0)
        titles = [title.replace(" ", "\n") for title in _view_titles(views)]
        axes.set_xticks(range(len(views)), titles)
        axes.set_title(f"classes {pair_title(pair)}")
    panels[0][0].set_ylabel("real minus mixed images (nats)")
    _norm_legend(figure, norms)
    return figure, drawn


def _draw_interval(axes: Axes, x: float, values: list[float], look: Look) -> None:
    mean, low, high = t_interval(values)
    axes.plot([x] * len(values), values, **look.points, alpha=0.45, ms=3)
    if np.isfinite(low):
        axes.plot([x, x], [low, high], color=look.color, lw=1)
    axes.plot([x - 0.08, x + 0.08], [mean, mean], color=look.color, lw=1.6)


def telling_figure(results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The probability that a real image is likelier than a mixed one (a = 1/2), for every norm,
    coupling norm and batching; a panel for each pair.

    Args:
        results: one data set and coupling, with a column coupling_norm. Filled: running averages,
            open: recalibrated; small: each seed, large: mean and 95 % t interval.
    """
    keys = ["pair", "norm", "coupling_norm", "batching", "seed", "metric", "value"]
    metrics = {f"test.{kind}.auc": kind for kind in KIND_TITLES}
    drawn = results.loc[results["metric"].isin(metrics), keys]
    found = {*zip(drawn["coupling_norm"], drawn["batching"], drawn["norm"], strict=True)}
    rows = [
        (coupling_norm, batching, norm)
        for batching in batchings_in(drawn)[::-1]
        for coupling_norm in sorted({row[0] for row in found}, reverse=True)
        for norm in norms_in(drawn)
        if (coupling_norm, batching, norm) in found
    ]
    pairs = _pairs(drawn)
    figure, panels = panel_grid(1, len(pairs), 0.8 + 0.33 * len(rows), sharey=True)
    for axes, pair in zip(panels[0], pairs, strict=True):
        for place, (coupling_norm, batching, norm) in enumerate(rows):
            own = where(drawn, pair=pair, coupling_norm=coupling_norm, batching=batching, norm=norm)
            for shift, (metric, kind) in zip((-0.16, 0.2), metrics.items(), strict=True):
                look, values = LOOKS[norm], where(own, metric=metric)["value"]
                face = look.color if kind == "plain" else "white"
                marks: dict[str, Any] = {"color": look.color, "marker": look.marker, "mfc": face}
                if len(values):
                    draw_interval(axes, [*values], place + shift, 0.14, **marks)
        axes.axvline(0.5, color="grey", lw=0.8, ls=":", zorder=0)
        axes.set(xlim=(0, 1), title=f"classes {pair_title(pair)}", xlabel="AUC, real against mixed")
    names = [
        f"{LOOKS[norm].label}, {batch_title(batching)}, coupling norm {coupling_norm}"
        for coupling_norm, batching, norm in rows
    ]
    panels[0][0].set_yticks(range(len(rows)), names)
    panels[0][0].invert_yaxis()
    return figure, drawn


def sample_grids(
    samples: Mapping[tuple[str, str, str], Tensor], real: Tensor
) -> tuple[Figure, pd.DataFrame]:
    """Images drawn from the flows of one pair, one panel per flow, beside training images.

    Args:
        samples: (norm, batching, kind of statistics) -> images (n, C, H, W) in [0, 1].
        real: the same number of training images.
    """
    keys = pd.DataFrame(list(samples), columns=["norm", "batching", "statistics"])
    norms, views = norms_in(keys), _views(keys)
    width, height = 0.36 * COLUMN * (len(views) + 1), 0.30 * COLUMN * len(norms) + 0.35
    figure, panels = panel_grid(len(norms), len(views) + 1, height, width)
    for row, norm in zip(panels, norms, strict=True):
        for axes, view in zip(row[1:], views, strict=True):
            _show(axes, samples[norm, *view])
        row[1].set_ylabel(LOOKS[norm].label)
        row[0].set_axis_off()
    panels[0][0].set_axis_on()
    _show(panels[0][0], real)
    title_columns(panels, ["training\nimages", *_view_titles(views)])
    drawn = keys.assign(
        images=[len(images) for images in samples.values()],
        mean_pixel=[images.mean().item() for images in samples.values()],
        sd_pixel=[images.std().item() for images in samples.values()],
    )
    return figure, drawn


def _show(axes: Axes, images: Tensor) -> None:
    """Dark ink on white, in a square."""
    side = int(np.ceil(len(images) ** 0.5))
    grid = make_grid(images, nrow=side, padding=1, pad_value=0.15)
    axes.imshow(1 - grid.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def gap_table(results: pd.DataFrame) -> pd.DataFrame:
    """Real minus mixed (nats) with 95 % t interval, and the AUC of telling them apart."""
    keys = ["pair", "batching", "statistics", "norm"]
    told = gaps(results, "auc").groupby(keys)["value"].mean().to_dict()
    rows = [
        {
            **dict(zip(keys, key, strict=True)),
            "real minus mixed (nats)": _with_interval(values.tolist()),
            "AUC": f"{told[key]:.2f}",
            "seeds": len(values),
        }
        for key, values in gaps(results).groupby(keys)["value"]
    ]
    return _in_words(pd.DataFrame(rows))


def _in_words(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the figures' order, under the figures' names."""
    orders = {"pair": _pairs(table), "batching": batchings_in(table), "statistics": KIND_TITLES}
    table = rows_in_order(table, orders | ({"norm": LOOKS} if "norm" in table else {}))
    table["pair"] = table["pair"].map(pair_title)
    table["statistics"] = table["statistics"].map(KIND_TITLES)
    return with_labels(table) if "norm" in table else table


def difference_table(results: pd.DataFrame) -> pd.DataFrame:
    """Gap of every other norm minus that of BN, paired by seed, with 95 % t interval."""
    keys = ["pair", "batching", "statistics"]
    rows = []
    for key, chosen in gaps(results).groupby(keys):
        by_norm = chosen.pivot(index="seed", columns="norm", values="value")
        row = dict(zip(keys, key, strict=True))
        for norm in norms_in(chosen):
            if norm != "bn":
                difference = (by_norm[norm] - by_norm["bn"]).dropna().tolist()
                row[f"{LOOKS[norm].label} minus BN (nats)"] = _with_interval(difference)
        rows.append(row)
    return _in_words(pd.DataFrame(rows))


def _with_interval(values: list[float]) -> str:
    """Mean with the ends of its t interval, where one is known."""
    mean, low, high = t_interval(values)
    return f"{mean:+.1f}" + (f" ({low:+.1f} to {high:+.1f})" if np.isfinite(low) else "")
