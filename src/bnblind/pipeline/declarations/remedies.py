"""Which normalization works on batches that share a loss."""

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import batchings_fit
from bnblind.pipeline.configuration.schema import class_counts
from bnblind.pipeline.declaration import Experiment, Page, Training, trained_again, with_features

SECTION = keys.trained_again(
    "under further norms",
    "which norms",
    {
        "batchings": keys.names("batching", "as in `classification`"),
        "batches": keys.integer(
            "training batches on which to measure, before and after training, what is blocked"
        ),
    },
)

TRAINING = Training(kind="networks", grids=trained_again("remedies", with_features))

EXPERIMENT = Experiment(
    name="remedies",
    title="What to use instead",
    order=75,
    section=SECTION,
    needs=("classification", "purity"),
    contradictions=batchings_fit("remedies"),
    training=TRAINING,
    page=Page(
        figures={"norms": "{comparison}"},
        captions={
            "norms": "test accuracy under each norm. On label-pure batches norms that block no "
            "gradient over the batch come close to no norm.",
        },
        drawn=TRAINING.compared("norms"),
        inputs=lambda config, paths: {
            "table": paths.table("remedies"),
            "purity": paths.table("purity"),
        },
        parameters=class_counts,
        sentence="Test accuracy under each norm on label-pure batches and on random ones.",
    ),
)
