"""A toy task whose only signal is first-order."""

from collections.abc import Iterator

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.declaration import Computing, Config, Experiment, Page

SECTION = keys.mapping(
    "the toy task whose only signal is first-order",
    {
        "norms": keys.names("norm", "norm variants after the trained layer"),
        "classes": keys.integer("classes; every batch holds one, in cyclic order"),
        "inputs": keys.integer("inputs of the trained layer"),
        "features": keys.integer(
            "outputs of it (`in` sees them as channels of 8 positions)", 8, multipleOf=8
        ),
        "batch_size": keys.integer("samples per batch", 2),
        "lr": keys.positive("step size of gradient descent"),
        "steps": keys.integer("number of its steps, at least 2 x `classes`", 2),
        "seeds": keys.seeds("of task, weights and batches"),
    },
)


def contradictions(config: Config) -> Iterator[str]:
    """Fewer than two cycles through the classes: nothing could be seen to change."""
    steps, classes = (config["linear_signal"][key] for key in ("steps", "classes"))
    if steps < 2 * classes:
        yield f"linear_signal.steps: found {steps}; allowed: at least 2 x classes, {2 * classes}"


EXPERIMENT = Experiment(
    name="linear_signal",
    title="A task whose only signal is of first order",
    order=20,
    section=SECTION,
    contradictions=contradictions,
    tables={"table": "linear_signal"},
    computing=Computing(
        "train_first_order_task", norms=lambda config: config["linear_signal"]["norms"]
    ),
    page=Page(
        captions={
            "displacement": "BN and centering alone leave the weights at rest, up to rounding; "
            "with detached statistics the weights move and the loss still does not fall, because "
            "the forward pass removes the batch mean on which it depends; under every other norm "
            "the weights move and the loss falls.",
        },
        sentence="How far training moves the weights before the norm: BN and centering alone leave "
        "them at rest.",
    ),
)
