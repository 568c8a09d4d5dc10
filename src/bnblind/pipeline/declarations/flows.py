"""Real and interpolated images under a flow."""

from collections.abc import Iterator
from typing import Any

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import unprepared
from bnblind.pipeline.configuration.schema import datasets
from bnblind.pipeline.declaration import Config, Experiment, Page, Training
from bnblind.pipeline.paths import Paths

SECTION = keys.grids(
    "RealNVP on pairs of classes; every combination of pair, norm, coupling norm and batching is a "
    "cell, trained once per seed. One job per norm and coupling norm trains all its cells. What "
    "these words mean: [docs/flows.md](../docs/flows.md)",
    {
        "dataset": keys.name("dataset", "one of `data`"),
        "pairs": keys.several(
            keys.pair("pairs of classes; `[9, 8]`: a in the mixtures is the share of 9")
        ),
        "coupling": keys.name(
            "coupling",
            "`mlp`: fully connected couplings on flattened images; `conv`: multi-scale, "
            "convolutional ones",
        ),
        "couplings": keys.integer("how many; for `conv`, how many of each kind at each scale", 2),
        "width": keys.integer("of each coupling's network: hidden units, or channels"),
        "depth": keys.integer("of each coupling's network: hidden layers, or residual blocks"),
        "constraint": keys.positive(
            "of the logit: pixels x become logit(1/2 + constraint (x - 1/2))", exclusiveMaximum=1
        ),
        "norms": keys.names("norm", "norm variants inside the couplings' networks"),
        "coupling_norms": keys.names(
            "coupling_norm",
            "after each coupling: nothing, batch statistics for each feature or channel, or one "
            "mean and variance for the whole batch",
        ),
        "batchings": keys.names("batching", "as in `classification`"),
        "lr": keys.positive("step size"),
        "optimizer": keys.optimizer(),
        "scale_regularization": keys.number(
            "weight of the squared gains (couplings' scales, weight normalization) in the loss",
            minimum=0,
        ),
        "batch_size": keys.integer("samples per batch", 2),
        "epochs": keys.integer("passes over the training images at most"),
        "patience": keys.integer(
            "epochs without a better validation likelihood that end training; 0: none do, and the "
            "last epoch is judged",
            0,
        ),
        "batches_per_epoch": keys.default(
            keys.integer("of as many passes over the training part as it takes"), None, "one pass"
        ),
        "mixtures": keys.integer("pairs of images to mix", 2),
        "samples": keys.integer("images to draw"),
        "jobs": keys.jobs(),
        "device": keys.device(),
        "seeds": keys.seeds("of initialization, batches, noise and pairs"),
    },
)


def contradictions(config: Config) -> Iterator[str]:
    for own, grid in config["flows"].items():
        place = f"flows.{own}"
        yield from unprepared(place, grid, config)
        classes = datasets()[grid["dataset"]]["classes"]
        for pair in grid["pairs"]:
            if pair[0] == pair[1] or max(pair) >= classes:
                yield f"{place}.pairs: found {pair}; allowed: two of the classes 0 to {classes - 1}"


TRAINING = Training(
    kind="flows", grids=lambda config: dict(config["flows"]), keeps=("weights", "samples")
)

FIGURES = ("telling", "interpolation", "curves", "samples")


def drawn(config: Config) -> Iterator[tuple[str, dict[str, str]]]:
    """A set of figures for each data set and coupling."""
    identities = [cell.identity for cell in TRAINING.all_cells(config)]
    for name in dict.fromkeys(f"{own['dataset']}-{own['coupling']}" for own in identities):
        yield from ((figure, {"flows": name}) for figure in FIGURES)


def inputs(config: Config, paths: Paths) -> dict[str, Any]:
    grids = TRAINING.jobs(config).items()
    used = sorted({cell.dataset for cell in TRAINING.all_cells(config)})
    return {
        "results": paths.table("flows"),
        "samples": [
            paths.trained("samples", "flows", grid, job) for grid, jobs in grids for job in jobs
        ],
        "prepared": {dataset: paths.prepared(dataset) for dataset in used},
    }


EXPERIMENT = Experiment(
    name="flows",
    title="Real and interpolated images under a flow",
    order=80,
    section=SECTION,
    contradictions=contradictions,
    training=TRAINING,
    page=Page(
        figures={name: f"{{flows}}-{name}" for name in FIGURES},
        captions={
            "telling": "how well each flow tells real test images from half-and-half mixed ones: "
            "the probability that the real one is likelier (AUC), and by how many nats (gap); "
            "dotted: chance. Filled: running averages, open: recalibrated. On label-pure batches "
            "flows with LN tell them apart, and those with BN do not or less well. The authors "
            "compare BN with coupling norm BN and LN with coupling norm scalar, which differ in "
            "both.",
            "interpolation": "log-likelihood from test images of one class (left) to the other "
            "(right). It falls in the middle if the flow tells mixtures from images.",
            "curves": "bits per dimension of training (dotted) and validation images (line), lower "
            "is better, every seed; marker: the epoch whose weights are kept. How far each norm "
            "gets on random (left) and on label-pure batches (right).",
            "samples": "training images, and images drawn from each flow of the first seed.",
        },
        drawn=drawn,
        supplement=FIGURES[1:],
        inputs=inputs,
        sentence="How well a flow tells real images from mixtures of two.",
    ),
)
