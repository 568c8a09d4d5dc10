"""Federated averaging over clients that have few classes each."""

from collections.abc import Iterator

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import unprepared
from bnblind.pipeline.configuration.schema import class_counts, datasets
from bnblind.pipeline.declaration import Config, Experiment, Page, Training

SECTION = keys.grids(
    "federated averaging; every combination of norm and classes per client is a cell, trained once "
    "per seed, one job per norm",
    {
        "dataset": keys.name("dataset", "one of `data`"),
        "model": keys.name("model", "as in `classification`"),
        "norms": keys.names("norm", "norm variants at the network's normalization layers"),
        "batchings": keys.names("batching", "within a client, as in `classification`"),
        "clients": keys.integer("how many, at least one per class"),
        "classes_per_client": keys.several(keys.integer("how many classes a client has")),
        "lr": keys.positive("step size"),
        "optimizer": keys.optimizer(),
        "batch_size": keys.integer("samples per batch", 2),
        "device": keys.device(),
        "epochs": keys.integer("rounds: each client passes once over its samples"),
        "seeds": keys.seeds("of initialization, clients and batches"),
    },
)


def contradictions(config: Config) -> Iterator[str]:
    for own, grid in config["federated"].items():
        place = f"federated.{own}"
        yield from unprepared(place, grid, config)
        if own != grid["dataset"]:
            yield f"federated: found the grid {own}; allowed: one for each data set, called as that"
        classes = datasets()[grid["dataset"]]["classes"]
        if grid["clients"] < classes:
            yield f"{place}.clients: found {grid['clients']}; allowed: {classes} or more"
        if many := [k for k in grid["classes_per_client"] if k > classes]:
            yield f"{place}.classes_per_client: found {many}; allowed: 1 to {classes}"


EXPERIMENT = Experiment(
    name="federated",
    title="Clients with few classes each",
    order=77,
    section=SECTION,
    contradictions=contradictions,
    training=Training(
        kind="federations",
        grids=lambda config: {
            name: {**grid, "may_diverge": True} for name, grid in config["federated"].items()
        },
    ),
    page=Page(
        figures={"accuracies": "{grid}-accuracies"},
        captions={
            "accuracies": "test accuracy of the averaged network, mean of the last three rounds, "
            "by norm and classes per client. With one class per client only BN stays at the level "
            "of a guess, even with its averages recomputed on all training images (open).",
        },
        drawn=lambda config: [("accuracies", {"grid": grid}) for grid in config["federated"]],
        parameters=class_counts,
        sentence="Test accuracy of federated averaging by norm, if every client has one class, "
        "two, or all.",
    ),
)
