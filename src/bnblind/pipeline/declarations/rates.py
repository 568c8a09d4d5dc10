"""The classifiers again, at other learning rates; the page of ``classification`` shows them."""

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import batchings_fit
from bnblind.pipeline.declaration import Experiment, Training, trained_again

SECTION = keys.trained_again(
    "at other learning rates",
    "which of the norms",
    {
        "batchings": keys.names("batching", "as in `classification`"),
        "learning_rates": keys.several(keys.positive("step sizes")),
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
