"""What a schema cannot say of a configuration: relations between its keys.

Each function yields one line for each key that contradicts another: found, and allowed.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from bnblind.experiments.words import purity_of, purity_word
from bnblind.pipeline.cells import SWEEPS, grid_cells, swept_cells
from bnblind.pipeline.schema import DATASETS, read_yaml


def contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """All of a configuration that its schema allows."""
    yield from _of_root(config)
    yield from _of_data(config)
    yield from _of_classification(config)
    yield from _of_sweeps(config)
    yield from _of_flows(config)
    yield from _twins(config)
    yield from _of_derivatives(config)
    yield from _of_features(config)
    yield from _of_linear_signal(config)


def _of_root(config: Mapping[str, Any]) -> Iterator[str]:
    if config["root"] == "." and config["profile"] != "quick":
        yield (
            f"root: found '.' with profile {config['profile']!r}; allowed: '.' for quick only, "
            "whose results are the published ones; for others such as runs/NAME"
        )


def _of_data(config: Mapping[str, Any]) -> Iterator[str]:
    for name, split in config["data"].items():
        if split["validation"] + split["test"] >= 1:
            yield f"data.{name}: validation and test leave no training data; their sum must be < 1"


def _of_classification(config: Mapping[str, Any]) -> Iterator[str]:
    for name, grid in config["classification"].items():
        place = f"classification.{name}"
        yield from _unprepared(place, grid, config)
        late = [epoch for epoch in grid["snapshots"] if epoch > grid["epochs"]]
        if late:
            yield f"{place}.snapshots: found {late}; allowed: 1 to epochs, {grid['epochs']}"
        yield from _impure(f"{place}.batchings", grid["batchings"], grid["dataset"])


def _of_sweeps(config: Mapping[str, Any]) -> Iterator[str]:
    for sweep in SWEEPS:
        for name, settings in config[sweep].items():
            place, grid = f"{sweep}.{name}", config["classification"].get(name)
            if grid is None:
                yield _no_grid(place, config)
            elif sweep == "purity":
                words = list(map(purity_word, settings["purities"]))
                yield from _impure(f"{place}.purities", words, grid["dataset"])
            else:
                yield from _impure(f"{place}.batchings", settings["batchings"], grid["dataset"])
                again = [
                    f"{cell['norm']}, {cell['batching']} at {cell['lr']}"
                    for cell in swept_cells(config, sweep, name)
                    if cell in grid_cells(name, grid)
                ]
                if again:
                    yield f"{place}: found {'; '.join(again)}, which the grid itself trains"


def _of_flows(config: Mapping[str, Any]) -> Iterator[str]:
    registered = read_yaml(DATASETS)
    for name, grid in config["flows"].items():
        place = f"flows.{name}"
        yield from _unprepared(place, grid, config)
        classes = registered[grid["dataset"]]["classes"]
        for pair in grid["pairs"]:
            if pair[0] == pair[1] or max(pair) >= classes:
                yield f"{place}.pairs: found {pair}; allowed: two of the classes 0 to {classes - 1}"


def _of_derivatives(config: Mapping[str, Any]) -> Iterator[str]:
    for name, probing in config["derivatives"].items():
        place, grid = f"derivatives.{name}", config["classification"].get(name)
        if grid is None:
            yield _no_grid(place, config)
        elif "bn" not in grid["norms"] or "label" not in grid["batchings"]:
            yield (
                f"{place}: found norms {grid['norms']} and batchings {grid['batchings']} in that "
                "grid; allowed: grids with norm bn and batching label"
            )
        else:
            yield from _impure(f"{place}.batchings", probing["batchings"], grid["dataset"])
        if "label" not in probing["batchings"]:
            yield f"{place}.batchings: found {probing['batchings']}; allowed: with label"


def _of_features(config: Mapping[str, Any]) -> Iterator[str]:
    for name, analysis in config["features"].items():
        place, grid, tsne = f"features.{name}", config["classification"].get(name), analysis["tsne"]
        if grid is None:
            yield _no_grid(place, config)
            continue
        if not set(tsne["norms"]) <= set(grid["norms"]):
            yield f"{place}.tsne.norms: found {tsne['norms']}; allowed: {', '.join(grid['norms'])}"
        if tsne["seed"] not in grid["seeds"]:
            yield f"{place}.tsne.seed: found {tsne['seed']}; allowed: {grid['seeds']}"


def _of_linear_signal(config: Mapping[str, Any]) -> Iterator[str]:
    steps, classes = (config["linear_signal"][key] for key in ("steps", "classes"))
    if steps < 2 * classes:
        yield f"linear_signal.steps: found {steps}; allowed: at least 2 x classes, {2 * classes}"


def _twins(config: Mapping[str, Any]) -> Iterator[str]:
    """Grids, or sweeps of other grids, that train the same cell: no column tells them apart.

    What a sweep shares with its own grid is not asked here: rates are held against the grid where
    sweeps are checked, and a grid may keep the weights of a purity that its sweep only measures.
    """
    first: dict[tuple[Any, ...], str] = {}
    told = set()
    for place, cell in _trained(config):
        other = first.setdefault(cell, place)
        own = place.split(".")[1] == other.split(".")[1]
        if not own and (place, other) not in told:
            told.add((place, other))
            found = ", ".join(map(str, cell))
            yield f"{place}: found {found}, which {other} trains as well; allowed: one of them"


def _trained(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Key of a grid or sweep, and what the columns of the results say of each cell of it."""
    grids = config["classification"]
    for table in ("classification", *SWEEPS):
        for name in [name for name in config[table] if name in grids]:
            own = grid_cells(name, grids[name])
            network = grids[name]["dataset"], grids[name]["model"]
            for cell in own if table == "classification" else swept_cells(config, table, name):
                yield f"{table}.{name}", (*network, cell["norm"], cell["batching"], cell["lr"])
    for name, grid in config["flows"].items():
        axes = ("norms", "coupling_norms", "pairs", "batchings")
        for values in itertools.product(*(grid[axis] for axis in axes)):
            yield f"flows.{name}", (grid["dataset"], grid["coupling"], *map(str, values))


def _no_grid(place: str, config: Mapping[str, Any]) -> str:
    return f"{place}: no such grid; allowed: {', '.join(config['classification'])}"


def _unprepared(place: str, grid: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    if grid["dataset"] not in config["data"]:
        yield (
            f"{place}.dataset: found {grid['dataset']!r}, which `data` does not prepare; "
            f"allowed: {', '.join(config['data'])}"
        )


def _impure(place: str, batchings: list[str], dataset: str) -> Iterator[str]:
    """At the key ``place``, purities below 1 / C, that of a random choice of samples."""
    least = 1 / read_yaml(DATASETS)[dataset]["classes"]
    purities = {word: purity_of(word) for word in batchings}
    low = [word for word, purity in purities.items() if purity is not None and purity < least]
    if low:
        yield f"{place}: found {low}; allowed purities: {least:g} (1 / classes) to 1"
