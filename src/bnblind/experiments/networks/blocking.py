"""What batch norm blocks of the gradient on batches of a given batching."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from bnblind.experiments.batching import make_batches
from bnblind.experiments.datasets import Part
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.evaluation import measured_in_training
from bnblind.experiments.networks.losses import training_loss
from bnblind.experiments.randomness import stream
from bnblind.norms.bn import BatchNorm
from bnblind.probe import BlindnessProbe

SHARES = ("mean_share", "scale_share", "passing")


def whole_batches(part: Part, cell: NetworkCell, seed: int) -> list[Tensor]:
    """The ``cell.probed`` first training batches of the cell's size, the same for every model."""
    order = stream(seed, "blocked", cell.batching)
    drawn = make_batches(cell.batching, part.labels, cell.batch_size, order)
    return [batch for batch in drawn if len(batch) == cell.batch_size][: cell.probed]


def blocked_shares(model: nn.Module, part: Part, cell: NetworkCell, seed: int) -> dict[str, Any]:
    """What each batch norm of ``model`` blocks and lets pass of the gradient in training (T4).

    Args:
        model: any; it is left as it is. Computed in float64.
        cell: its batching, batch size and loss; ``cell.probed`` batches are measured, shorter ones
            left out.
        seed: of the batches, the same for every model.

    Returns:
        ``LAYER.mean_share``, ``.scale_share`` and ``.passing``: shares of the squared gradient
        summed over the batches, which add to 1; nothing for a model without batch norm.
    """
    if not any(isinstance(layer, BatchNorm) for layer in model.modules()):
        return {}
    model, loss = measured_in_training(copy.deepcopy(model).double()), training_loss(cell.loss)
    with BlindnessProbe(model) as probe:
        for batch in whole_batches(part, cell, seed):
            loss(model(part[batch].double()), part.labels[batch], "mean").backward()
    return {
        f"{row['layer']}.{share}": row[share]
        for row in probe.table().to_dict("records")
        for share in SHARES
    }


def mixture_shares(model: nn.Module, part: Part, cell: NetworkCell, seed: int) -> dict[str, float]:
    """The share of the first-order term that centering blocks in batches of several classes (T7).

    Gradients are those at y0 = 0 of one batch norm, each sample's with its own label.

    Args:
        model, cell, seed: as of :func:`blocked_shares`.

    Returns:
        ``mixture.measured``: by T4 of these gradients, summed over the batches;
        ``mixture.stated``: (sum w^2 - 1/C) / (1 - 1/C) for the batches' own shares w of the
        classes, weighted alike, which T7 states for classes that are alike; ``mixture.deviation``:
        the distance of the two. Nothing unless the model has exactly one batch norm, since a second
        one would couple the samples.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, BatchNorm)]
    if len(norms) != 1:
        return {}
    model, loss = measured_in_training(copy.deepcopy(model).double()), training_loss(cell.loss)
    (norm,) = (layer for layer in model.modules() if isinstance(layer, BatchNorm))
    points: list[Tensor] = []

    def at_y0(_: nn.Module, args: tuple[Tensor], out: Tensor) -> Tensor:
        points.append(torch.zeros_like(out).requires_grad_())
        return norm.affine(points[-1])

    norm.register_forward_hook(at_y0)
    blocks = arrives = stated = 0.0
    classes = len(part.labels.unique())
    for batch in whole_batches(part, cell, seed):
        labels = part.labels[batch]
        loss(model(part[batch].double()), labels, "mean").backward()
        G = points[-1].grad
        assert G is not None
        total = G.square().sum().item()
        weights = labels.bincount(minlength=classes).double() / len(labels)
        blocks += len(G) * G.mean(0).square().sum().item()
        arrives += total
        stated += total * ((weights.square().sum().item() - 1 / classes) / (1 - 1 / classes))
    measured, stated = blocks / arrives, stated / arrives
    names = {"measured": measured, "stated": stated, "deviation": abs(measured - stated)}
    return {f"mixture.{name}": value for name, value in names.items()}
