"""The Taylor split at the norm layers of trained networks."""

from collections.abc import Iterator
from typing import Any

from bnblind.norm_facts import has_controls
from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import of_grids, unfit
from bnblind.pipeline.declaration import Computing, Config, Experiment, Page

SECTION = keys.grids(
    "the Taylor split at every norm layer of the networks kept by that grid of `classification` "
    "(initial, `snapshots`, last), which needs norm `bn` and batching `label`",
    {
        "batchings": keys.names(
            "batching", "kinds of batches to measure on, with `label`; drawn from the training part"
        ),
        "batch_size": keys.integer("samples per batch; short last batches are not used", 2),
        "batches": keys.integer("batches of each kind for each network"),
        "norms": keys.default(
            keys.names("norm", "of which networks of the grid, with `bn`"), None, "all"
        ),
        "layers": keys.default(
            keys.integer("norm layers at which to split, from the first to the last", 2),
            None,
            "all",
        ),
    },
)


def contradictions(config: Config) -> Iterator[str]:
    def of_grid(place: str, probing: Any, grid: Any) -> Iterator[str]:
        if "bn" not in grid["norms"] or "label" not in grid["batchings"]:
            yield (
                f"{place}: found norms {grid['norms']} and batchings {grid['batchings']} in that "
                "grid; allowed: grids with norm bn and batching label"
            )
        else:
            own = {**grid, "batch_size": probing["batch_size"]}
            yield from unfit(f"{place}.batchings", probing["batchings"], own)
        norms = probing.get("norms", ["bn"])
        if "bn" not in norms or not {*norms} <= {*grid["norms"]}:
            yield f"{place}.norms: found {norms}; allowed: bn, and others of {grid['norms']}"
        if "label" not in probing["batchings"]:
            yield f"{place}.batchings: found {probing['batchings']}; allowed: with label"

    return of_grids("derivatives", config, of_grid)


def drawn(config: Config) -> Iterator[tuple[str, dict[str, str]]]:
    yield "positions", {}
    yield "readings", {}
    for grid in config["derivatives"]:
        norms = config["derivatives"][grid].get("norms", config["classification"][grid]["norms"])
        controls = has_controls(norms)
        for variants in ("norms", *(["controls"] if controls else [])):
            yield "terms", {"grid": grid, "variants": variants}
        yield "blocked", {"grid": grid}


def models(config: Config) -> Config:
    """The network of each grid that is analysed."""
    return {
        "models": {grid: config["classification"][grid]["model"] for grid in config["derivatives"]}
    }


EXPERIMENT = Experiment(
    name="derivatives",
    title="What passes in trained networks",
    order=30,
    section=SECTION,
    needs=("classification",),
    contradictions=contradictions,
    tables={"terms": "derivatives/{grid}-terms", "blocked": "derivatives/{grid}-blocked"},
    computing=Computing("split_networks", of_networks=True),
    page=Page(
        figures={
            "terms": "{grid}-{variants}",
            "blocked": "{grid}-blocked",
            "positions": "positions",
            "readings": "readings",
        },
        captions={
            "terms": "each Taylor term's gradient after the norm (dotted) and before it (line), "
            "along training; median over seeds and batches.",
            "blocked": "shares of the squared gradient that each batch norm blocks and lets pass, "
            "before training and after training on each kind of batch; mean over seeds and "
            "batches.",
            "readings": "What passes batch norms of the second-order terms of label-pure batches, "
            "read in three ways: of the terms' sum, in which diagonal and off-diagonal cancel, of "
            "both counted separately, and as a share of the whole gradient.",
            "positions": "Batch norm after training, probed with label-pure batches: shares of "
            "the squared gradient that are blocked and that pass, for vectors "
            "(head) and images (conv).",
        },
        drawn=drawn,
        parameters=models,
        sentence="Networks trained on label-pure batches: each Taylor term's gradient after the "
        "first norm (dotted) and before it (line). On label-pure batches the first-order term "
        "reaches BN and does not pass it.",
    ),
)
