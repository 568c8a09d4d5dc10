"""Training on random and on label-pure batches."""

from collections.abc import Iterator

from bnblind.experiments.networks.cell import EXECUTIONS, PRECISIONS, NetworkCell
from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import unfit, unprepared
from bnblind.pipeline.configuration.schema import class_counts
from bnblind.pipeline.declaration import Config, Experiment, Page, Training

BATCHINGS = (
    "`random`: shuffled; `label`: one class per batch, classes in cyclic order; `label_shuffled`: "
    "one class per batch, in random order; `purity-P` (`purity-0.9`; P from 1 / classes to 1): a "
    "share P of each batch of the batch's own class; `foreign-K` (`foreign-1`): all but K samples "
    "of each batch of one class; `src/bnblind/experiments/batching.py` says exactly how"
)

SECTION = keys.grids(
    "every combination of norm, batching and learning rate is a cell, trained once per seed. One "
    "job per norm trains all its cells, since starting a job takes as long as training a small "
    "network; another batching, rate or seed trains the grid's cells again. `GRID` is lower-case "
    "letters, digits, `-` and `_`",
    {
        "dataset": keys.name("dataset", "one of `data`"),
        "model": keys.name("model", "network, see `src/bnblind/experiments/networks/models.py`"),
        "loss": keys.default(keys.name("loss", "training loss"), NetworkCell.loss),
        "init": keys.default(
            keys.name(
                "init",
                "how the weights start: as torch does, `he` (He et al. 2015), or `vgg`, as the "
                "authors' VGG-11: `he`, and fully connected layers from N(0, 0.01)",
            ),
            NetworkCell.init,
        ),
        "split": keys.default(
            keys.name("split", "parts of the data: `prepared`, or `own`: drawn anew for each seed"),
            NetworkCell.split,
        ),
        "width": keys.default(
            keys.integer("channels of the first stage, of networks that can be of any width"), None
        ),
        "dropout": keys.default(
            keys.number("share, of networks that have it", minimum=0, exclusiveMaximum=1), None
        ),
        "norms": keys.names("norm", "norm variants at the network's normalization layers"),
        "batchings": keys.names("batching", BATCHINGS),
        "learning_rates": keys.several(keys.positive("step sizes")),
        "optimizer": keys.optimizer(),
        "batch_size": keys.integer("samples per batch, also of the evaluation in training mode", 2),
        "epochs": keys.integer("passes over the training part"),
        "snapshots": keys.several(
            keys.integer("epochs whose weights are kept, besides the initial and the last ones"), 0
        ),
        "augment": keys.default(
            keys.name("augmentation", "random changes of the training images"), NetworkCell.augment
        ),
        "evaluated": keys.default(
            keys.integer(
                "samples of a part that are measured before the last epoch; other modes than that "
                "of evaluation are then left to the test images at the end"
            ),
            None,
            "all",
        ),
        "precision": keys.word(
            PRECISIONS,
            "of the products in training steps; weights and norms stay float32. `tf32` is for GPUs",
        ),
        "execution": keys.word(
            EXECUTIONS,
            "of training steps: one operation after the other, by torch's compiler, or with images "
            "channel by channel in memory, otherwise channels-last",
        ),
        "jobs": keys.jobs(),
        "device": keys.device(),
        "chunk": keys.default(
            keys.integer("samples at once where nothing is trained"), NetworkCell.chunk
        ),
        "seeds": keys.seeds("of initialization and batches"),
    },
)


def contradictions(config: Config) -> Iterator[str]:
    for own, grid in config["classification"].items():
        place = f"classification.{own}"
        yield from unprepared(place, grid, config)
        late = [epoch for epoch in grid["snapshots"] if epoch > grid["epochs"]]
        if late:
            yield f"{place}.snapshots: found {late}; allowed: 1 to epochs, {grid['epochs']}"
        yield from unfit(f"{place}.batchings", grid["batchings"], grid)
        if grid.get("precision") == "tf32" and grid.get("device", "cpu") == "cpu":
            yield f"{place}.precision: found tf32 on a processor; allowed: on a GPU (device: cuda)"


def trained_on(config: Config) -> dict[str, list[str]]:
    """The data sets of the networks, and of those that the ablation trains at other rates."""
    cells = TRAINING.cells(config)
    used = {"accuracies": cells, "rates": config["rates"]}
    return {name: list(dict.fromkeys(cells[g][0].dataset for g in of)) for name, of in used.items()}


def drawn(config: Config) -> Iterator[tuple[str, dict[str, str]]]:
    found = trained_on(config)
    for figure, of in (("accuracies", "accuracies"), ("curves", "accuracies"), ("rates", "rates")):
        yield from ((figure, {"dataset": dataset}) for dataset in found[of])


TRAINING = Training(
    kind="networks",
    grids=lambda config: dict(config["classification"]),
    keeps=("weights",),
)

EXPERIMENT = Experiment(
    name="classification",
    title="Training on random and on label-pure batches",
    order=40,
    section=SECTION,
    needs=("rates",),
    contradictions=contradictions,
    training=TRAINING,
    page=Page(
        figures={
            "accuracies": "{dataset}-accuracies",
            "curves": "{dataset}-curves",
            "rates": "{dataset}-rates",
        },
        captions={
            "accuracies": "test accuracy under every norm of every network. BN does as well as LN "
            "on random batches and worse than LN on label-pure ones.",
            "curves": "training loss, and test accuracy, against the epoch. With BN, label-pure "
            "batches leave the loss at that of a guess (dotted) or slow its fall.",
            "rates": "test accuracy against the learning rate. On label-pure batches BN stays "
            "behind at every rate at which a network learns without it.",
        },
        drawn=drawn,
        supplement=("rates",),
        inputs=lambda config, paths: {
            "results": paths.table("classification"),
            "rates": paths.table("rates"),
        },
        parameters=class_counts,
        sentence="Test accuracy under each norm, network by network. BN does as well as LN on "
        "random batches and worse on label-pure ones: in `head` it falls to chance.",
    ),
)
