"""The paper's networks on real images: the results of the profile ``images`` on one page."""

from collections.abc import Iterator
from typing import Any

from bnblind.pipeline.configuration.schema import class_counts
from bnblind.pipeline.declaration import Config, Experiment, Page
from bnblind.pipeline.declarations import classification, derivatives, features, flows
from bnblind.pipeline.paths import Paths

TABLES = {"terms": "derivatives", "measures": "features", "plane": "features"}
"""Tables of each grid, and the experiments that make them."""


def drawn(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    for figure, found in classification.trained_on(config).items():
        yield from ((figure, {"dataset": dataset}) for dataset in found)
    yield from ((figure, {}) for figure in ("readings", "measures", "tsne"))
    yield from (found for found in flows.drawn(config) if found[0] == "telling")


def inputs(config: Config, paths: Paths) -> dict[str, Any]:
    return {
        **{name: paths.table(name) for name in ("classification", "rates", "flows")},
        **{
            table: {grid: paths.table(f"{of}/{grid}-{table}") for grid in config[of]}
            for table, of in TABLES.items()
        },
    }


def captions_of(experiment: Experiment, *names: str) -> dict[str, str]:
    assert experiment.page is not None
    return {name: experiment.page.captions[name] for name in names}


EXPERIMENT = Experiment(
    name="images",
    title="The paper's networks on real images",
    order=42,
    of_profile="images",
    needs=("classification", "rates", "derivatives", "features", "flows"),
    page=Page(
        figures={
            "accuracies": "{dataset}-accuracies",
            "rates": "{dataset}-rates",
            "readings": "readings",
            "measures": "measures",
            "tsne": "tsne",
            "telling": "{flows}-telling",
        },
        captions={
            **captions_of(classification.EXPERIMENT, "accuracies", "rates"),
            **captions_of(derivatives.EXPERIMENT, "readings"),
            **captions_of(features.EXPERIMENT, "measures", "tsne"),
            "telling": "how well each flow tells real test images from half-and-half mixed ones, "
            "by order (AUC) and in nats (gap); dotted: chance. Filled: running averages, open: "
            "recalibrated. With convolutional couplings BN tells them apart as LN does.",
        },
        drawn=drawn,
        supplement=("rates", "readings", "measures", "tsne", "telling"),
        inputs=inputs,
        parameters=lambda config: {**class_counts(config), **derivatives.models(config)},
        sentence="Test accuracy of VGG-11, ResNet-18 and DenseNet-121 on Fashion-MNIST; flows on "
        "MNIST.",
    ),
)
