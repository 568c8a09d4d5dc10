"""What a trained flow thinks of real and of mixed images, with two kinds of BN statistics.

``plain``: evaluation mode, the running averages of training. ``recalibrated``: the statistics of
every batch norm averaged again over mixed (random) batches of the training images, with the
weights as they are. Averages that were collected from label-pure batches describe neither class.
"""

import copy

import torch
from torch import Tensor

from bnblind.experiments.batching import make_batches
from bnblind.experiments.datasets import Dataset, Part
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.flows.coupling_norms import BatchCouplingNorm
from bnblind.experiments.flows.pixels import dequantize
from bnblind.experiments.flows.realnvp import RealNVP
from bnblind.experiments.flows.training import best_flow, log_likelihoods, pair_parts
from bnblind.experiments.randomness import stream
from bnblind.experiments.runs import Run
from bnblind.experiments.trainer import Row
from bnblind.norms import BatchStatistics, average_statistics

SHARES = tuple(i / 10 for i in range(11))
"""Share a of the first class's image in a mixed image, x = a x_pos + (1 - a) x_neg."""

AVERAGING = BatchStatistics | BatchCouplingNorm
"""The layers that keep running averages."""

MIDDLE = 0.5
"""The share at which mixed images are compared with real ones."""


def recalibrated(flow: RealNVP, part: Part, cell: FlowCell, seed: int) -> RealNVP:
    """A copy whose running averages are plain means over one epoch of random batches."""
    flow = copy.deepcopy(flow)
    batches = make_batches(
        "random", part.labels, cell.batch_size, stream(seed, "recalibration", "batches")
    )
    images = dequantize(part.pixels, part.scale.levels, stream(seed, "recalibration", "noise"))
    average_statistics(flow, (images[batch] for batch in batches), AVERAGING)
    return flow.eval()


def mixed_images(
    part: Part, share: float, pairs: tuple[Tensor, Tensor], noise: torch.Generator
) -> Tensor:
    """``share`` of the first class's image plus the rest of the second's, dequantized; ``pairs``
    are positions of the images of the first and of the second class in ``part``.
    """
    first, second = (part.pixels[rows] for rows in pairs)
    return dequantize(share * first + (1 - share) * second, part.scale.levels, noise)


def draw_pairs(part: Part, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``count`` positions of each of the two classes, drawn with replacement."""
    first, second = ((part.labels == label).nonzero().flatten() for label in (1, 0))
    drawn = [
        rows[torch.randint(len(rows), (count,), generator=generator)] for rows in (first, second)
    ]
    return drawn[0], drawn[1]


def probability_of_telling(real: Tensor, mixed: Tensor) -> float:
    """Chance that a real image is likelier than a mixed one, ties half (the area under ROC)."""
    difference = real[:, None] - mixed
    return ((difference > 0).float().mean() + 0.5 * (difference == 0).float().mean()).item()


def judge(flow: RealNVP, part: Part, cell: FlowCell, seed: int, where: str) -> list[Row]:
    """Log-likelihoods (nats) of real and mixed images of ``part``, as rows of metrics.

    ``real.mean``, ``real.sd``: all images. ``mixed.mean``, ``mixed.sd``: pairs of images, at
    each ``share``; every share sees the same pairs and the same noise. ``gap``: real mean minus
    mixed mean at ``MIDDLE``; ``auc``: chance that a real image is likelier than such a mixed one.
    """
    real = log_likelihoods(
        flow, dequantize(part.pixels, part.scale.levels, stream(seed, "judging", where, "real"))
    )
    pairs = draw_pairs(part, cell.mixtures, stream(seed, "judging", where, "pairs"))
    rows: list[Row] = [
        {"metric": "real.mean", "value": real.mean().item()},
        {"metric": "real.sd", "value": real.std().item()},
    ]
    for share in SHARES:
        noise = stream(seed, "judging", where, "mixed")
        mixed = log_likelihoods(flow, mixed_images(part, share, pairs, noise))
        values = {"mixed.mean": mixed.mean().item(), "mixed.sd": mixed.std().item()}
        if share == MIDDLE:
            values["gap"] = (real.mean() - mixed.mean()).item()
            values["auc"] = probability_of_telling(real, mixed)
        rows += [{"share": share, "metric": name, "value": v} for name, v in values.items()]
    return rows


def evaluate_run(cell: FlowCell, run: Run, data: Dataset) -> tuple[list[Row], dict[str, Tensor]]:
    """Of the best epoch's flow: metrics named ``PART.KIND.METRIC``, and samples by kind,
    (cell.samples, C, H, W), clamped to [0, 1]. ``KIND`` is ``plain`` or ``recalibrated``; the two
    are the same where nothing is averaged.
    """
    (epoch,) = run.weights
    flow, parts = best_flow(cell, run, data), pair_parts(cell, data)
    flows = {"plain": flow}
    if any(isinstance(layer, AVERAGING) for layer in flow.modules()):
        flows["recalibrated"] = recalibrated(flow, parts["train"], cell, run.seed)
    rows, samples = [], {}
    for kind, judged in flows.items():
        for part in ("validation", "test"):
            found = judge(judged, parts[part], cell, run.seed, part)
            rows += [
                {**row, "epoch": epoch, "metric": f"{part}.{kind}.{row['metric']}"} for row in found
            ]
        with torch.no_grad():
            drawn = judged.sample(cell.samples, stream(run.seed, "samples"))
        samples[kind] = drawn.clamp(0, 1)
    if "recalibrated" not in flows:
        rows += [
            {**row, "metric": row["metric"].replace(".plain.", ".recalibrated.")} for row in rows
        ]
        samples["recalibrated"] = samples["plain"].clone()
    return rows, samples
