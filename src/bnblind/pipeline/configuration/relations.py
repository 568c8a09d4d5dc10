"""What a schema cannot say of a configuration: relations that several experiments have.

Each function yields one line for each key that contradicts another: found, and allowed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bnblind.experiments.words import foreign_of, purity_of
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


def batchings_fit(section: str) -> Callable[[Config], Iterator[str]]:
    """The lines of :func:`unfit` for the ``batchings`` of each grid that a section names."""

    def of_grid(place: str, settings: Any, grid: Any) -> Iterator[str]:
        return unfit(f"{place}.batchings", settings["batchings"], grid)

    return lambda config: of_grids(section, config, of_grid)


def unprepared(place: str, grid: Config, config: Config) -> Iterator[str]:
    """At a grid, its data set where ``data`` does not prepare it."""
    if grid["dataset"] not in config["data"]:
        yield (
            f"{place}.dataset: found {grid['dataset']!r}, which `data` does not prepare; "
            f"allowed: {', '.join(config['data'])}"
        )


def unfit(place: str, batchings: Iterable[str], grid: Config) -> Iterator[str]:
    """At the key ``place``, purities below 1 / C, that of a random choice of samples, and more
    foreign samples than a batch of the grid has.
    """
    batchings = list(batchings)
    least, most = 1 / datasets()[grid["dataset"]]["classes"], grid["batch_size"] - 1
    low = [word for word in batchings if (purity_of(word) or 1) < least]
    if low:
        yield f"{place}: found {low}; allowed purities: {least:g} (1 / classes) to 1"
    many = [word for word in batchings if (foreign_of(word) or 1) > most]
    if many:
        yield f"{place}: found {many}; allowed: 1 to {most} foreign samples (batch_size - 1)"
