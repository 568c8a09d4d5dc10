"""What batch norm blocks of the gradient on batches of a given batching."""

import copy
from typing import Any

from torch import nn

from bnblind.experiments.batching import make_batches
from bnblind.experiments.datasets import Part
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.losses import training_loss
from bnblind.experiments.randomness import stream
from bnblind.norms.bn import BatchNorm
from bnblind.probe import BlindnessProbe

SHARES = ("mean_share", "scale_share", "passing")


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
    model = copy.deepcopy(model).double().train()
    order, loss = stream(seed, "blocked", cell.batching), training_loss(cell.loss)
    drawn = make_batches(cell.batching, part.labels, cell.batch_size, order)
    whole = [batch for batch in drawn if len(batch) == cell.batch_size][: cell.probed]
    with BlindnessProbe(model) as probe:
        for batch in whole:
            loss(model(part.images[batch].double()), part.labels[batch], "mean").backward()
    return {
        f"{row['layer']}.{share}": row[share]
        for row in probe.table().to_dict("records")
        for share in SHARES
    }
