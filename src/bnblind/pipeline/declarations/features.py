"""How well the penultimate features of trained networks separate the classes."""

from collections.abc import Iterator
from typing import Any

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import of_grids
from bnblind.pipeline.declaration import Computing, Config, Experiment, Page
from bnblind.pipeline.declarations.derivatives import models

SECTION = keys.grids(
    "silhouette, nearest class mean and linear probe of the penultimate features of that grid of "
    "`classification`, before training and after it, and t-SNE after it",
    {
        "measured": keys.default(
            keys.integer("training and test images on which to measure, the first ones", 31),
            None,
            "all",
        ),
        "tsne": keys.mapping(
            "what t-SNE draws",
            {
                "norms": keys.names(
                    "norm",
                    "norms of that grid whose features are drawn, each for every batching and "
                    "learning rate",
                ),
                "seed": keys.integer("which of that grid's seeds is drawn", 0),
                "samples": keys.integer("how many test images at most", 31),
            },
        ),
    },
)


def contradictions(config: Config) -> Iterator[str]:
    def of_grid(place: str, analysis: Any, grid: Any) -> Iterator[str]:
        tsne = analysis["tsne"]
        if not set(tsne["norms"]) <= set(grid["norms"]):
            yield f"{place}.tsne.norms: found {tsne['norms']}; allowed: {', '.join(grid['norms'])}"
        if tsne["seed"] not in grid["seeds"]:
            yield f"{place}.tsne.seed: found {tsne['seed']}; allowed: {grid['seeds']}"

    return of_grids("features", config, of_grid)


EXPERIMENT = Experiment(
    name="features",
    title="The features that training leaves",
    order=60,
    section=SECTION,
    needs=("classification",),
    contradictions=contradictions,
    tables={"measures": "features/{grid}-measures", "plane": "features/{grid}-plane"},
    computing=Computing("measure_features", of_networks=True),
    page=Page(
        captions={
            "measures": "How well the features separate the classes, before training (bars) and "
            "after it. On label-pure batches training raises the silhouette less with BN than with "
            "LN, or not at all.",
            "tsne": "The test images' features after training in the plane of t-SNE, evaluation "
            "mode, one seed; one colour and number per class. Clusters are as clear as the "
            "silhouette below says.",
        },
        parameters=models,
        supplement=("tsne",),
        sentence="How well the penultimate features separate the classes: on label-pure batches "
        "training raises the silhouette with LN, and less or not at all with BN.",
    ),
)
