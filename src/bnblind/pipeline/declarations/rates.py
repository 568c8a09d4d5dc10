"""The classifiers again, at other learning rates; the page of ``classification`` shows them."""

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import batchings_fit
from bnblind.pipeline.declaration import Experiment, Training, trained_again

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


EXPERIMENT = Experiment(
    name="rates",
    title="Other learning rates",
    order=50,
    section=SECTION,
    needs=("classification",),
    contradictions=batchings_fit("rates"),
    training=Training(kind="networks", grids=trained_again("rates", dict)),
)
