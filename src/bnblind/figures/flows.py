"""Figures of the flow experiment: curves, interpolation, gaps and samples."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor
from torchvision.utils import make_grid

from bnblind.figures.naming import (
    batch_title,
    batching_title,
    batchings_in,
    interval_text,
    norms_in,
    rows_in_order,
    where,
    with_labels,
)
from bnblind.figures.outcomes import draw_interval
from bnblind.figures.panels import (
    LEVEL,
    draw_band,
    grouped_places,
    name_fills,
    name_groups,
    name_row,
    panel_grid,
    title_columns,
)
from bnblind.figures.style import COLUMN, LOOKS

KIND_TITLES = {"plain": "running averages", "recalibrated": "recalibrated"}
COUPLING_TITLES = {"mlp": "fully connected couplings", "conv": "convolutional couplings"}
COUPLING_NORM_TITLES = {"none": "none", "bn": "BN", "scalar": "scalar"}
"""Of what stands after each coupling."""


def pair_title(pair: str) -> str:
    """``9v8`` as "9 and 8"."""
    return " and ".join(pair.split("v"))


def coupling_title(coupling_norm: str) -> str:
    return f"coupling norm {COUPLING_NORM_TITLES.get(coupling_norm, coupling_norm)}"


def _cases(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Each pair and coupling norm, and what its row of panels is called."""
    found = {*zip(table["pair"], table["coupling_norm"], strict=True)}
    several = table["coupling_norm"].nunique() > 1
    return {
        (pair, norm): pair_title(pair) + f",\n{coupling_title(norm)}" * several
        for pair, norm in sorted(found, reverse=True)
    }


def _pairs(results: pd.DataFrame) -> list[str]:
    """In order of their classes, the highest first."""
    return sorted(results["pair"].unique(), reverse=True)


def _norm_legend(figure: Figure, norms: list[str], *others: Line2D) -> None:
    handles = [*(Line2D([], [], **LOOKS[norm].line) for norm in norms), *others]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)


def training_curves(results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Bits per dimension of training and validation images against the epoch, every seed;
    ``results`` are of one data set and coupling. Rows: pairs and coupling norms, columns:
    batchings. A marker is the epoch whose weights are kept.
    """
    names = {"train.bits_per_dimension": ":", "validation.bits_per_dimension": "-"}
    drawn = results[results["metric"].isin(list(names)) & (results["epoch"] > 0)]
    cases, batchings, norms = _cases(drawn), batchings_in(drawn), norms_in(drawn)
    height = 0.4 + 0.5 * COLUMN * len(cases)
    figure, panels = panel_grid(len(cases), len(batchings), height, sharey="row")
    for row, ((pair, coupling_norm), title) in zip(panels, cases.items(), strict=True):
        of_case = where(drawn, pair=pair, coupling_norm=coupling_norm)
        for axes, batching in zip(row, batchings, strict=True):
            for norm in norms:
                _draw_runs(axes, where(of_case, batching=batching, norm=norm), norm, names)
        lowest = of_case["value"].min()
        # The first epochs, far above, would flatten the rest.
        row[0].set_ylim(lowest - 0.05, lowest + 1.2)
        name_row(row, f"{title}\nbits per dimension")
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


def _of_both(results: pd.DataFrame, metric: str, columns: list[str]) -> pd.DataFrame:
    """A metric of the test images under either kind of statistics, which is a further column."""
    parts = [
        where(results, metric=f"test.{kind}.{metric}")[columns].assign(statistics=kind)
        for kind in KIND_TITLES
    ]
    return pd.concat(parts, ignore_index=True)


def interpolation_curves(results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Log-likelihood of x = a x_pos + (1 - a) x_neg against a, mean over test images; ``results``
    as in :func:`training_curves`.
    """
    columns = ["pair", "coupling_norm", "norm", "batching", "seed", "share", "value"]
    drawn = _of_both(results, "mixed.mean", columns)
    cases, views, norms = _cases(drawn), _views(drawn), norms_in(drawn)
    height = 0.6 + 0.5 * COLUMN * len(cases)
    figure, panels = panel_grid(len(cases), len(views), height, sharey="row")
    for row, ((pair, coupling_norm), title) in zip(panels, cases.items(), strict=True):
        of_case = where(drawn, pair=pair, coupling_norm=coupling_norm)
        first, second = pair.split("v")
        for axes, (batching, kind) in zip(row, views, strict=True):
            chosen = where(of_case, batching=batching, statistics=kind)
            for norm in norms_in(chosen):
                # The images' means may be negative.
                look = LOOKS[norm].line | {"ms": 3}
                draw_band(axes, where(chosen, norm=norm), "share", -np.inf, **look)
            axes.set_xticks([0, 0.5, 1], [f"all {second}", "half", f"all {first}"])
            axes.set_xlim(-0.08, 1.08)
        name_row(row, f"{title}\nlog-likelihood (nats)")
    title_columns(panels, _view_titles(views))
    _norm_legend(figure, norms)
    return figure, drawn


def gaps(results: pd.DataFrame, metric: str = "gap") -> pd.DataFrame:
    """A figure of the test images for every run, by the columns of ``CASE``, norm and seed."""
    columns = ["pair", "coupling_norm", "batching", "norm", "seed", "value"]
    return _of_both(results, metric, columns)


TOLD: dict[str, tuple[str, float, tuple[float, float] | None]] = {
    "auc": ("AUC", 0.5, (0, 1.02)),
    "gap": ("gap (nats)", 0.0, None),
}
"""Measures of how well a flow tells real from mixed images: name, chance and limits."""


def telling_figure(results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How well each flow tells real from half-and-half mixed images (a = 1/2), by order (AUC) and
    in nats: rows are norms, grouped by batching and coupling norm; a panel for each measure and
    pair; ``results`` as in :func:`training_curves`. Filled: running averages, open: recalibrated.
    """
    keys = ["pair", "norm", "coupling_norm", "batching", "seed", "metric", "value"]
    metrics = [f"test.{kind}.{measure}" for kind in KIND_TITLES for measure in TOLD]
    drawn = results.loc[results["metric"].isin(metrics), keys]
    several = drawn["coupling_norm"].nunique() > 1
    groups = {
        batch_title(batching) + f",\n{coupling_title(coupling_norm)}" * several: where(
            drawn, batching=batching, coupling_norm=coupling_norm
        )
        for batching in batchings_in(drawn)[::-1]
        for coupling_norm in sorted(drawn["coupling_norm"].unique(), reverse=True)
    }
    places = grouped_places((name, norm) for name, own in groups.items() for norm in norms_in(own))
    columns = [(measure, pair) for measure in TOLD for pair in _pairs(drawn)]
    height = 0.9 + 0.3 * max(places.values())
    figure, panels = panel_grid(1, len(columns), height, sharey=True)
    for axes, (measure, pair) in zip(panels[0], columns, strict=True):
        label, chance, limits = TOLD[measure]
        for (name, norm), place in places.items():
            for shift, kind, full in ((-0.16, "plain", True), (0.2, "recalibrated", False)):
                metric, look = f"test.{kind}.{measure}", LOOKS[norm]
                own = where(groups[name], pair=pair, norm=norm, metric=metric)
                marks = look.points | {"ms": 3.5, "mfc": look.color if full else "white"}
                if len(own):
                    draw_interval(axes, own, place + shift, 0.16, **marks)
        axes.axvline(chance, **LEVEL)
        axes.set(title=f"classes {pair_title(pair)}", xlabel=label, xlim=limits)
    name_groups(panels[0][0], places, lambda norm: LOOKS[norm].label)
    guess = Line2D([], [], **LEVEL, label="real and mixed alike")
    name_fills(figure, KIND_TITLES.values(), guess)
    return figure, drawn


Flow = tuple[str, str, str]
"""Norm, batching and kind of statistics."""


def sample_grids(
    samples: Mapping[str, Mapping[Flow, Tensor]], real: Mapping[str, Tensor]
) -> tuple[Figure, pd.DataFrame]:
    """Images (n, C, H, W) in [0, 1] drawn from flows, one panel per flow, by what the flows of a
    pair and coupling norm are called; beside them as many ``real`` training images.
    """
    flows = [(name, *flow) for name, own in samples.items() for flow in own]
    keys = pd.DataFrame(flows, columns=["flows", "norm", "batching", "statistics"])
    views = _views(keys)
    rows = [(name, norm) for name in samples for norm in norms_in(where(keys, flows=name))]
    width, height = 0.36 * COLUMN * (len(views) + 1), 0.30 * COLUMN * len(rows) + 0.35
    figure, panels = panel_grid(len(rows), len(views) + 1, height, min(width, 2 * COLUMN))
    for axes in panels.flat:
        axes.set_axis_off()
    for row, (name, norm) in zip(panels, rows, strict=True):
        if norm == norms_in(where(keys, flows=name))[0]:
            _show(row[0], real[name])
            row[0].set_title(name, fontsize=7)
        for axes, view in zip(row[1:], views, strict=True):
            if (norm, *view) in samples[name]:
                _show(axes, samples[name][norm, *view])
        row[1].set_ylabel(LOOKS[norm].label)
    for axes, title in zip(panels[0][1:], _view_titles(views), strict=True):
        axes.set_title(title)
    images = [samples[name][norm, batching, kind] for name, norm, batching, kind in flows]
    drawn = keys.assign(
        images=[*map(len, images)],
        mean_pixel=[own.mean().item() for own in images],
        sd_pixel=[own.std().item() for own in images],
    )
    return figure, drawn


def _show(axes: Axes, images: Tensor) -> None:
    """Dark ink on white, in a square."""
    axes.set_axis_on()
    side = int(np.ceil(len(images) ** 0.5))
    grid = make_grid(images, nrow=side, padding=1, pad_value=0.15)
    axes.imshow(1 - grid.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


CASE = ["pair", "coupling_norm", "batching", "statistics"]


def gap_table(results: pd.DataFrame) -> pd.DataFrame:
    """Real minus mixed (nats) with 95 % t interval, and the AUC of telling them apart."""
    keys = [*CASE, "norm"]
    told = gaps(results, "auc").groupby(keys)["value"].agg(interval_text, digits=".2f")
    table = gaps(results).groupby(keys)["value"].agg([_in_nats, "size"])
    names = {"_in_nats": "real minus mixed (nats)", "size": "seeds"}
    return _in_words(table.rename(columns=names).assign(AUC=told).reset_index())


def _in_words(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the figures' order, under the figures' names."""
    orders = {"pair": _pairs(table), "coupling_norm": COUPLING_NORM_TITLES}
    orders |= {"batching": batchings_in(table), "statistics": KIND_TITLES}
    table = rows_in_order(table, orders | ({"norm": LOOKS} if "norm" in table else {}))
    titles = {"coupling_norm": COUPLING_NORM_TITLES, "statistics": KIND_TITLES}
    table = table.assign(pair=table["pair"].map(pair_title))
    table = table.assign(**{name: table[name].map(words) for name, words in titles.items()})
    return with_labels(table).rename(columns={"coupling_norm": "coupling norm"})


def difference_table(results: pd.DataFrame) -> pd.DataFrame:
    """Gap of every other norm minus that of BN, paired by seed, with 95 % t interval."""
    rows = []
    for key, chosen in gaps(results).groupby(CASE):
        by_norm = chosen.pivot(index="seed", columns="norm", values="value")
        bn = by_norm.get("bn")
        differences = {
            f"{LOOKS[norm].label} minus BN (nats)": (by_norm[norm] - bn).dropna()
            for norm in norms_in(chosen)
            if norm != "bn" and bn is not None
        }
        told = {name: _in_nats(values) for name, values in differences.items() if len(values)}
        rows += [dict(zip(CASE, key, strict=True)) | told] if told else []
    return _in_words(pd.DataFrame(rows, columns=None if rows else CASE)).fillna("")


def _in_nats(values: pd.Series) -> str:
    return interval_text(values, "+.1f")
