"""The classifiers again, at other learning rates; the page of ``classification`` shows them."""

from collections.abc import Iterator
from typing import Any

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import of_grids, unfit
from bnblind.pipeline.declaration import Config, Experiment, Training, trained_again

SECTION = keys.grids(
    "the networks of that grid of `classification` again, at other learning rates; all else is the "
    "grid's. One job per norm trains all of it and keeps results, no weights. A run whose loss is "
    "no longer finite ends there and is recorded as diverged",
    {
        "norms": keys.names("norm", "which of the norms"),
        "batchings": keys.names("batching", "as in `classification`"),
        "learning_rates": keys.several(keys.positive("step sizes")),
        "seeds": keys.seeds("of initialization and batches"),
    },
)


def contradictions(config: Config) -> Iterator[str]:
    def of_grid(place: str, settings: Any, grid: Any) -> Iterator[str]:
        return unfit(f"{place}.batchings", settings["batchings"], grid)

    return of_grids("rates", config, of_grid)


EXPERIMENT = Experiment(
    name="rates",
    title="Other learning rates",
    order=50,
    section=SECTION,
    needs=("classification",),
    contradictions=contradictions,
    training=Training(kind="networks", grids=trained_again("rates", dict)),
)
