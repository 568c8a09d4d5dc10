"""Measure what each batch-norm layer of a model blocks of the gradient.

The model is in training mode, the loss is cross-entropy, and no weight is updated.
"""

import argparse
import base64
from pathlib import Path
from typing import TYPE_CHECKING

from bnblind.errors import BadInput
from bnblind.review.probe_inputs import (
    CLASSES,
    MOST_SAMPLES,
    TORCHVISION,
    load_data,
    load_model,
    raised,
)
from bnblind.review.terminal import columns, within

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

BATCHES_OF = {
    "label": "label-pure batches",
    "label_shuffled": "label-pure batches, classes in random order,",
    "random": "random batches",
}
SHARES = ("mean_share", "scale_share", "passing")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODULE:FACTORY",
        help="a callable without arguments that returns the model, as package.module:factory, or "
        f"torchvision:NAME, untrained, with {CLASSES} classes",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="digits|MODULE:BATCHES",
        help="scikit-learn's digits (1x8x8; 3x32x32 for torchvision's models), or a callable or "
        "an iterable that gives (x, target) pairs of tensors, as package.module:batches; its "
        f"first {MOST_SAMPLES} samples are taken",
    )
    parser.add_argument(
        "--batching",
        required=True,
        metavar="label|label_shuffled|random|purity-P",
        help="label: one class per batch, classes in cyclic order; label_shuffled: one class per "
        "batch, in random order; random: all classes; purity-0.9: 90 %% of one class",
    )
    parser.add_argument(
        "--batch-size", type=int, default=64, help="samples per batch (default: 64)"
    )
    parser.add_argument(
        "--batches", type=int, default=10, help="number of batches, at most (default: 10)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of weights, batches and dropout (default: 0)"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page with a figure to FILE"
    )


def _loss(model: "nn.Module", x: "Tensor", target: "Tensor") -> "Tensor":
    """Cross-entropy of one batch; raises BadInput if the model does not take it, or its output and
    the target do not fit.
    """
    import torch
    from torch.nn.functional import cross_entropy

    try:
        output = model(x)
    except Exception as error:  # the user's model may raise anything
        raise BadInput(
            f"the model raised on a batch of shape {tuple(x.shape)}: {raised(error)}"
        ) from error
    # Models with auxiliary classifiers, and many of other libraries, name their outputs.
    output = getattr(output, "logits", output)
    is_tensor = isinstance(output, torch.Tensor)
    if not is_tensor or output.dim() != 2 or len(output) != len(x):
        found = f"shape {tuple(output.shape)}" if is_tensor else type(output).__name__
        raise BadInput(
            f"the model's output must be of shape ({len(x)}, classes) for a batch of {len(x)} "
            f"samples; found {found}"
        )
    low, high = int(target.min()), int(target.max())
    if low < 0 or high >= output.shape[1]:
        raise BadInput(
            f"target out of range: found classes from {low} to {high}; allowed: 0 to "
            f"{output.shape[1] - 1}, the model's outputs"
        )
    return cross_entropy(output, target)


def measure(
    model: "nn.Module", x: "Tensor", target: "Tensor", args: argparse.Namespace
) -> "tuple[pd.DataFrame, int]":
    """The probe's table, and on how many batches it was measured."""
    from bnblind.experiments.batching import make_batches
    from bnblind.experiments.randomness import global_stream, stream
    from bnblind.pacing import paced
    from bnblind.probe import BlindnessProbe

    if args.batches < 1:
        raise BadInput(f"--batches must be >= 1; found {args.batches}")
    order = stream(args.seed, "batches")
    batches = make_batches(args.batching, target, args.batch_size, order)[: args.batches]
    probe = BlindnessProbe(model.train())
    with global_stream(args.seed, "dropout"):
        for rows in paced(batches, "the probe"):
            model.zero_grad()
            with probe:
                _loss(model, x[rows], target[rows]).backward()
    table = probe.table()
    if {*table["found"]} == {"not finite"}:
        raise BadInput("no batch gave finite gradients: does the model overflow, or the data?")
    return table, len(batches)


def _number(value: float, digits: str) -> str:
    return "-" if value != value else format(value, digits)


def _share(value: float) -> str:
    """Three digits; a share that they would show as 0 by its size."""
    return _number(value, ".0e" if 0 < abs(value) < 0.0005 else ".3f")


def as_text(table: "pd.DataFrame") -> "pd.DataFrame":
    return table.assign(
        pooled=table["pooled"].astype("string").fillna("-"),
        **{name: table[name].map(_share) for name in SHARES},
        **{
            name: table[name].map(lambda v: _number(v, ".3g"))
            for name in ("grad_norm_in", "grad_norm_out")
        },
    ).astype("string")


def explanation(args: argparse.Namespace, batches: int) -> str:
    measured_on = BATCHES_OF.get(args.batching, f"batches of {args.batching}")
    return (
        "Of the squared gradient that arrives at a layer's standardized features, mean_share is "
        "blocked by subtracting the batch mean, scale_share by dividing by the batch's standard "
        "deviation, and passing reaches the features before the layer. Measured on "
        f"{batches} {measured_on} of up to {args.batch_size} samples of "
        f"{args.data}, model {args.model} in training mode, seed {args.seed}."
    )


def _page(table: "pd.DataFrame", args: argparse.Namespace, batches: int) -> bytes:
    from bnblind.figures.style import use_style
    from bnblind.pipeline.formats.pages import fill
    from bnblind.pipeline.formats.publishing import figure_bytes
    from bnblind.probe_figures import bars

    use_style()
    figure = bars(table)
    return fill(
        "probe.html.j2",
        model=args.model,
        explanation=explanation(args, batches),
        columns=list(table.columns),
        rows=as_text(table).to_numpy().tolist(),
        picture=base64.b64encode(figure_bytes(figure, "svg")).decode(),
        inches=figure.get_figwidth(),
    )


def run(args: argparse.Namespace) -> None:
    """Measure, print the table, and write the page if one is asked for."""
    model = load_model(args.model, args.seed)
    of_torchvision = args.model.startswith(f"{TORCHVISION}:")
    x, target = load_data(args.data, as_photographs=of_torchvision)
    table, batches = measure(model, x, target, args)
    print(as_text(table).to_string(index=False, line_width=columns()))
    print(f"\n{within(explanation(args, batches))}")
    if args.html:
        from bnblind.pipeline.formats.files import publish

        publish({args.html.absolute(): _page(table, args, batches)})
        print(f"\npage: {args.html}")
