"""What a schema cannot say of a configuration: relations that several experiments have.

Each function yields one line for each key that contradicts another: found, and allowed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bnblind.experiments.words import purity_of
from bnblind.pipeline.configuration.schema import datasets

Config = Mapping[str, Any]


def of_grids(
    section: str, config: Config, check: Callable[[str, Any, Any], Iterator[str]]
) -> Iterator[str]:
    """The lines of ``check(place, settings, grid)`` for each grid of ``classification`` that
    ``section`` names; a line for one that is not there.
    """
    for name, settings in config[section].items():
        place, grid = f"{section}.{name}", config["classification"].get(name)
        if grid is None:
            yield f"{place}: no such grid; allowed: {', '.join(config['classification'])}"
        else:
            yield from check(place, settings, grid)


def unprepared(place: str, grid: Config, config: Config) -> Iterator[str]:
    """At a grid, its data set where ``data`` does not prepare it."""
    if grid["dataset"] not in config["data"]:
        yield (
            f"{place}.dataset: found {grid['dataset']!r}, which `data` does not prepare; "
            f"allowed: {', '.join(config['data'])}"
        )


def impure(place: str, batchings: Iterable[str], dataset: str) -> Iterator[str]:
    """At the key ``place``, purities below 1 / C, that of a random choice of samples."""
    least = 1 / datasets()[dataset]["classes"]
    purities = {word: purity_of(word) for word in batchings}
    low = [word for word, purity in purities.items() if purity is not None and purity < least]
    if low:
        yield f"{place}: found {low}; allowed purities: {least:g} (1 / classes) to 1"
