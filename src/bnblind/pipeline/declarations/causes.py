"""What does the harm: forward and backward passes of BN, each with and without the other."""

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import batchings_fit
from bnblind.pipeline.configuration.schema import class_counts
from bnblind.pipeline.declaration import Experiment, Page, Training, trained_again, with_features

SECTION = keys.trained_again(
    "under norms whose forward and backward passes are BN's, another's or nothing",
    "which norms",
    {
        "batchings": keys.names("batching", "as in `classification`"),
        "weight_decays": keys.several(keys.number("in place of the optimizer's", minimum=0)),
        "batches": keys.integer(
            "training batches on which to measure, before and after training, what is blocked"
        ),
    },
)

TRAINING = Training(kind="networks", grids=trained_again("causes", with_features))

EXPERIMENT = Experiment(
    name="causes",
    title="What does the harm",
    order=35,
    section=SECTION,
    needs=("classification",),
    contradictions=batchings_fit("causes"),
    training=TRAINING,
    page=Page(
        figures={"table": "{comparison}"},
        captions={
            "table": "test accuracy under every combination of a forward pass (bold) and a "
            "backward pass. Within a group only the gradient differs: on label-pure batches BN's "
            "costs accuracy under the identity and under running averages. Dotted: a guess.",
        },
        drawn=TRAINING.compared("table"),
        parameters=class_counts,
        sentence="Test accuracy under every combination of a forward pass (groups) and a backward "
        "pass (rows), by kind of batch. Within a group only the gradient differs: how far BN's "
        "backward pass lies from one that passes is what the blocked gradient costs.",
    ),
)
