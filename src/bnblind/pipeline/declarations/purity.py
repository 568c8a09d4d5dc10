"""The classifiers again, on batches between random and label-pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from bnblind.experiments.words import foreign_word, purity_word
from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import of_grids, unfit
from bnblind.pipeline.configuration.schema import class_counts
from bnblind.pipeline.declaration import Config, Experiment, Page, Training, trained_again

SECTION = keys.trained_again(
    "on batches of other purities",
    "which of the norms",
    {
        "purities": keys.several(
            keys.positive("from 1 / classes: the batchings `purity-P`", maximum=1)
        ),
        "foreign": keys.default(
            keys.several(
                keys.integer("samples of other classes in every batch: `foreign-K`", most=9999), 0
            ),
            [],
        ),
        "batches": keys.integer(
            "training batches on which to measure, before and after training, what BN blocks"
        ),
    },
)


def words(settings: Mapping[str, Any]) -> list[str]:
    pure, foreign = settings["purities"], settings.get("foreign", [])
    return [*map(purity_word, pure), *map(foreign_word, foreign)]


def change(settings: Mapping[str, Any]) -> Config:
    return {
        "norms": settings["norms"],
        "batchings": words(settings),
        "probed": settings["batches"],
        "seeds": settings["seeds"],
    }


def contradictions(config: Config) -> Iterator[str]:
    def of_grid(place: str, settings: Any, grid: Any) -> Iterator[str]:
        return unfit(f"{place}.purities", words(settings), grid)

    return of_grids("purity", config, of_grid)


TRAINING = Training(kind="networks", grids=trained_again("purity", change))

EXPERIMENT = Experiment(
    name="purity",
    title="From random to label-pure batches",
    order=70,
    section=SECTION,
    needs=("classification",),
    contradictions=contradictions,
    training=TRAINING,
    page=Page(
        figures={"curves": "{comparison}"},
        captions={
            "curves": "test accuracy, and the share of the squared gradient that BN blocks, "
            "against the purity of the training batches. Open marks (left): every batch has the "
            "same number of samples of other classes. Black (right): the share of the first-order "
            "term that centering blocks, as measured at y0 = 0 and as T7 states. What BN blocks "
            "grows steadily with purity; accuracy falls only at the end.",
        },
        drawn=TRAINING.compared("curves"),
        parameters=lambda config: {
            **class_counts(config),
            "batch_sizes": {
                cell.comparison(cell.identity): cell.batch_size
                for cell in TRAINING.all_cells(config)
            },
        },
        sentence="Test accuracy, and what BN blocks, against the share of a batch's samples that "
        "have one label.",
    ),
)
