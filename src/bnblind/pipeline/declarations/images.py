"""The paper's networks on real images: the results of the profile ``images`` on one page."""

from collections.abc import Iterator
from typing import Any

from bnblind.pipeline.configuration.schema import class_counts
from bnblind.pipeline.declaration import Config, Experiment, Page
from bnblind.pipeline.declarations import classification, flows
from bnblind.pipeline.declarations.derivatives import models
from bnblind.pipeline.paths import Paths

TABLES = {"terms": "derivatives", "measures": "features", "plane": "features"}
"""Tables of each grid, and the experiments that make them."""


def drawn(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    networks = classification.TRAINING.all_cells(config)
    for comparison in dict.fromkeys(cell.comparison(cell.identity) for cell in networks):
        yield "accuracies", {"comparison": comparison}
    for network in classification.ablated(config):
        yield "rates", {"network": network}
    yield "readings", {}
    for grid in config["features"]:
        yield from ((figure, {"grid": grid}) for figure in ("measures", "tsne"))
    for cell in flows.TRAINING.all_cells(config):
        yield "telling", {"told": f"{cell.dataset}-{cell.identity['coupling']}"}


def inputs(config: Config, paths: Paths) -> dict[str, Any]:
    return {
        **{name: paths.table(name) for name in ("classification", "rates", "flows")},
        **{
            table: {grid: paths.table(f"{of}/{grid}-{table}") for grid in config[of]}
            for table, of in TABLES.items()
        },
    }


EXPERIMENT = Experiment(
    name="images",
    title="The paper's networks on real images",
    order=42,
    of_profile="images",
    needs=("classification", "rates", "derivatives", "features", "flows"),
    page=Page(
        figures={
            "accuracies": "{comparison}",
            "rates": "{network}-rates",
            "readings": "readings",
            "measures": "{grid}-measures",
            "tsne": "{grid}-tsne",
            "telling": "{told}-telling",
        },
        captions={
            "accuracies": "test accuracy under each norm, mean of the last three epochs; small: "
            "each seed, large: mean and 95 % t interval over seeds. One panel per kind of batch.",
            "rates": "final test accuracy in evaluation mode against the learning rate.",
            "readings": "what passes batch norms of the second-order terms of label-pure batches, "
            "read in three ways: of the terms' sum, of both counted separately, and as a share of "
            "the whole gradient.",
            "measures": "silhouette, nearest class mean and linear probe of the features of test "
            "images before the last layer; one mark per seed, grey bars before training.",
            "tsne": "t-SNE of the test images' features after training, evaluation mode; one "
            "colour and number per class.",
            "telling": "the probability that a real test image is likelier than a half-and-half "
            "mixed one; dotted: chance. Filled: running averages, open: recalibrated; small: each "
            "seed, large: mean and 95 % t interval.",
        },
        drawn=drawn,
        inputs=inputs,
        parameters=lambda config: {**class_counts(config), **models(config)},
        sentence="Test accuracy of VGG-11 on Fashion-MNIST under each norm, on label-pure batches "
        "and on random ones.",
    ),
)
