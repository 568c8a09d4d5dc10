"""The classifiers again, at other learning rates; the page of ``classification`` shows them."""

from collections.abc import Iterator
from typing import Any

from bnblind.experiments.networks.cell import NetworkCell
from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import of_grids, unfit
from bnblind.pipeline.declaration import Config, Experiment, Grids, Training

SECTION = keys.grids(
    "the networks of that grid of `classification` again, at other learning rates; all else is the "
    "grid's. One job per norm trains all of it and keeps results, no weights. A run whose loss is "
    "no longer finite ends there and is recorded as diverged",
    {
        "norms": keys.names("norm", "which of the norms"),
        "batchings": keys.names("batching", "as in `classification`"),
        "learning_rates": keys.several(
            keys.positive("step sizes that the grid does not train itself")
        ),
        "seeds": keys.seeds("of initialization and batches"),
    },
)


def swept(config: Config) -> Grids:
    """The grids of ``classification``, each with what its section changes."""
    own = {"snapshots": [], "may_diverge": True}
    return {
        name: {**config["classification"][name], **settings, **own}
        for name, settings in config["rates"].items()
    }


def contradictions(config: Config) -> Iterator[str]:
    def of_grid(place: str, settings: Any, grid: Any) -> Iterator[str]:
        yield from unfit(f"{place}.batchings", settings["batchings"], grid)
        own = [cell.identity for cell in NetworkCell.of_grid(grid)]
        again = [
            f"{cell.norm}, {cell.batching} at {cell.lr}"
            for cell in NetworkCell.of_grid({**grid, **settings})
            if cell.identity in own
        ]
        if again:
            yield f"{place}: found {'; '.join(again)}, which the grid itself trains"

    return of_grids("rates", config, of_grid)


EXPERIMENT = Experiment(
    name="rates",
    title="Other learning rates",
    order=50,
    section=SECTION,
    contradictions=contradictions,
    training=Training(kind="networks", grids=swept),
)
