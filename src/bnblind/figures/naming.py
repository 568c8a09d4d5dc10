"""In what order figures and tables show what was run, by what names, and how they sum it up."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from math import isfinite
from typing import Any

import pandas as pd

from bnblind.experiments.intervals import t_interval
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.words import foreign_of, purity_of
from bnblind.figures.style import LOOKS

BATCH_TITLES = {
    "random": "random batches",
    "label": "label-pure batches",
    "label_shuffled": "label-pure batches, shuffled order",
}
"""What the batches of a batching are called, in the order in which they are shown."""
SHORT_TITLES = {"label_shuffled": "label-pure, shuffled order"}
"""Of training on a batching whose title would be wider than a panel."""
SHORT_BATCHES = {name: title.replace(" batches", "") for name, title in BATCH_TITLES.items()}
DATASET_TITLES = {"fashion_mnist": "Fashion-MNIST", "mnist": "MNIST", "cifar10": "CIFAR-10"}
MODEL_TITLES = {
    "head_relu": "head with ReLU",
    "mlp": "MLP",
    "mini_vgg": "mini-VGG",
    "resnet": "ResNet",
    "vgg11": "VGG-11",
    "resnet18": "ResNet-18",
    "densenet121": "DenseNet-121",
}
"""Names of data sets and networks, where the configuration spells them otherwise."""
COLUMN_TITLES = {"batching": "batches", "lr": "learning rate", "weight_decay": "weight decay"}


def in_order(found: Iterable[str], order: Iterable[str]) -> list[str]:
    """The distinct names found: those of ``order`` first and as there, others by name."""
    names, known = set(found), list(order)
    return [*(name for name in known if name in names), *sorted(names.difference(known))]


def norms_in(table: pd.DataFrame) -> list[str]:
    """The variants in the column ``norm``, in the order of ``LOOKS``."""
    return in_order(table["norm"], LOOKS)


def batchings_in(table: pd.DataFrame) -> list[str]:
    """The batchings in the column ``batching``, those with a title first."""
    return in_order(table["batching"], BATCH_TITLES)


def where(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows that have these values in the columns of these names."""
    for name, value in values.items():
        table = table[table[name] == value]
    return table


def identity_in(table: pd.DataFrame) -> list[str]:
    """The columns that tell the cells of classifiers in ``table`` apart."""
    return [field.name for field in NetworkCell.identity_fields() if field.name in table]


Network = dict[str, Any]
"""What tells a network apart, of the columns that are the same in all of a figure; without those
that it does not have.
"""


def networks_in(
    table: pd.DataFrame, but: str = "", *, sort: bool = False
) -> Iterator[tuple[Network, pd.DataFrame]]:
    """Each network and its runs, without the columns that it does not have; told apart by all
    those columns ``but`` one. In the order of the table, or sorted.
    """
    names = [name for name in NetworkCell.comparison_fields() if name in table and name != but]
    for key, runs in table.groupby(names, sort=sort, dropna=False):
        found = dict(zip(names, key, strict=True))
        lacking = [name for name in names if runs[name].isna().all()]
        yield (
            {name: value for name, value in found.items() if name not in lacking},
            runs.drop(columns=lacking),
        )


def runs_of(network: Network, table: pd.DataFrame) -> pd.DataFrame:
    """Those of a network in another table; none if it is not there."""
    return next((runs for own, runs in networks_in(table) if own == network), table.iloc[:0])


def rows_in_order(table: pd.DataFrame, orders: Mapping[str, Iterable[str]]) -> pd.DataFrame:
    """Rows by the columns that ``orders`` names, each in the order of the names it gives."""
    places = {
        column: {name: place for place, name in enumerate(order)}
        for column, order in orders.items()
    }
    return table.sort_values(
        list(orders), key=lambda c: c.map(places[str(c.name)]), kind="stable", ignore_index=True
    )


def model_title(model: str) -> str:
    return MODEL_TITLES.get(model, model)


def dataset_title(dataset: str) -> str:
    return DATASET_TITLES.get(dataset, dataset)


def network_title(network: Mapping[str, Any]) -> str:
    """Which network, on which data, and what is special in its training."""
    on = f"{model_title(network['model'])} on {dataset_title(network['dataset'])}"
    return f"{on}{specialities(network)}"


def called(tables: Mapping[str, pd.DataFrame], models: Mapping[str, str]) -> dict[str, str]:
    """What the network of each grid is called, with its seeds where two grids have the same one."""
    names = {grid: model_title(models[grid]) for grid in tables}
    ends = {grid: table["seed"].agg(["min", "max"]) for grid, table in tables.items()}
    return {
        grid: f"{name}, seeds {ends[grid]['min']} to {ends[grid]['max']}"
        if [*names.values()].count(name) > 1
        else name
        for grid, name in names.items()
    }


def batch_title(batching: str) -> str:
    if (purity := purity_of(batching)) is not None:
        return f"batches of purity {purity:g}"
    if (foreign := foreign_of(batching)) is not None:
        return f"batches with {foreign} sample{'s' * (foreign > 1)} of other classes"
    return BATCH_TITLES.get(batching, f"{batching} batches")


SPECIALITIES = {
    "loss": "training loss {}",
    "init": "{} initialization",
    "split": "{} split per seed",
}
"""What is said of a network that was not trained with the default."""


def specialities(network: Mapping[str, object]) -> str:
    """In what a network's training differs from the default, to follow its name."""
    defaults = {f.name: f.default for f in NetworkCell.identity_fields()}
    return "".join(
        f", {words.format(str(network[name]).capitalize() if name == 'init' else network[name])}"
        for name, words in SPECIALITIES.items()
        if network.get(name, defaults[name]) != defaults[name]
    ).replace("_", " ")


def batching_title(batching: str) -> str:
    return SHORT_TITLES.get(batching, f"trained on {batch_title(batching)}")


def with_labels(table: pd.DataFrame) -> pd.DataFrame:
    """The same table, its norms, batches and columns called as in the figures."""
    titles = {"norm": lambda norm: LOOKS[norm].label, "batching": batch_title}
    told = {name: table[name].map(title) for name, title in titles.items() if name in table}
    return table.assign(**told).rename(columns=COLUMN_TITLES)


def in_runs(numbers: Iterable[int]) -> str:
    """The different numbers, those that follow each other by their ends: ``5, 50 to 59``."""
    runs = groupby(enumerate(sorted({*numbers})), key=lambda at: at[1] - at[0])
    ends = [[number for _, number in run] for _, run in runs]
    return ", ".join(f"{run[0]} to {run[-1]}" if run[1:] else str(run[0]) for run in ends)


def interval_text(values: pd.Series, digits: str = ".3f") -> str:
    """Mean over the seeds, and the ends of its t interval where there is more than one."""
    mean, low, high = t_interval([*values])
    ends = f" ({low:{digits}} to {high:{digits}})" if isfinite(low) else ""
    return f"{mean:{digits}}{ends}"
