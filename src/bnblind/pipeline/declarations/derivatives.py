"""The Taylor split at the norm layers of trained networks."""

from collections.abc import Iterator
from typing import Any

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


def models(config: Config) -> Config:
    return {"models": {grid: of["model"] for grid, of in config["classification"].items()}}


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
        captions={
            "readings": "What passes each batch norm of the second-order terms, along training, "
            "read in three ways: of the terms' sum, in which diagonal and off-diagonal cancel, of "
            "both counted separately, and as a share of the whole gradient. Whether BN blocks most "
            "of the second order depends on the reading and on the place. Relative to the whole "
            "gradient the second order can exceed 1, since terms cancel. A band that reaches the "
            "lower edge includes 0. Points on a kink are left out.",
            "positions": "Batch norm after training, probed with label-pure batches: shares of "
            "the squared gradient that are blocked and that pass. The theorems hold where a norm "
            "stands before vectors (head); before images (conv) BN blocks a part.",
            "blocked": "Shares of the squared gradient of training that each batch norm blocks and "
            "lets pass, of label-pure and of random batches. Before vectors BN blocks nearly all "
            "of a gradient that a batch shares and little of one that it does not.",
            "terms": "Each Taylor term's gradient after the first norm (dotted) and before it "
            "(line), along training on label-pure batches. Before vectors nothing of the first "
            "order passes BN or centering alone; before images most of it passes the first norm.",
        },
        supplement=("blocked", "terms"),
        parameters=models,
        sentence="What of each Taylor term's gradient passes the norms of trained networks. Before "
        "vectors none of the first-order term passes BN on label-pure batches; before images most "
        "of it passes the first norm.",
    ),
)
