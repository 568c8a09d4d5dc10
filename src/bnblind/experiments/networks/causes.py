"""What training under a norm does to the features before it, and what the norm blocks."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bnblind.experiments.datasets import Part
from bnblind.experiments.networks.blocking import whole_batches
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.evaluation import measured_in_training
from bnblind.experiments.networks.losses import training_loss
from bnblind.norms import Norm
from bnblind.shares import blocked
from bnblind.standardization import per_channel, standardize


def first_norm(model: nn.Module) -> Norm:
    """The first normalization layer, which the baseline without a norm has, too."""
    return next(layer for layer in model.modules() if isinstance(layer, Norm))


def features_before(model: nn.Module, chunks: Iterable[Tensor]) -> Tensor:
    """What the first norm is given of images in evaluation mode, (n, D) float64."""
    seen: list[Tensor] = []
    model = copy.deepcopy(model).double().eval()
    first_norm(model).register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(1)))
    with torch.no_grad():
        for images in chunks:
            model(images.double())
    return torch.cat(seen)


def feature_statistics(x: Tensor, labels: Tensor) -> dict[str, float]:
    """How far features (n, D) of the classes ``labels`` (n,) lie apart, and from 0.

    Returns:
        ``between_within``: sum over the features of the variance of the classes' means, weighted by
        their samples, over that within the classes (infinite where these are 0);
        ``squared_mean`` and ``variance``, means over the features.
    """
    mean = x.mean(0)
    own = torch.stack([x[labels == c].mean(0) for c in labels.unique()])
    places = labels.unique(return_inverse=True)[1]
    between = (own[places] - mean).square().mean(0).sum()
    within = (x - own[places]).square().mean(0).sum()
    found = {
        "between_within": between / within,
        "squared_mean": mean.square().mean(),
        "variance": (x - mean).square().mean(),
    }
    return {name: value.item() for name, value in found.items()}


@contextmanager
def watched(layer: Norm) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """What goes through the layer: of each backward pass the features given to it, and the gradient
    with respect to its output; the last one first.
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def forward(_: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        x = args[0].detach()
        if out.requires_grad:
            out.register_hook(lambda gradient: seen.append((x, gradient)))

    handle = layer.register_forward_hook(forward)
    try:
        yield seen
    finally:
        handle.remove()


def share_blocked_by(layer: Norm, seen: Iterable[tuple[Tensor, Tensor]]) -> float | None:
    """Of the squared gradient at the layer's standardized features, summed over what was ``seen``
    of it, the share that BN's backward pass blocks (T4); None where no gradient arrives.
    """
    passes = arrives = 0.0
    for x, gradient in seen:
        y, _ = standardize(x, layer.eps)
        weight = getattr(layer, "weight", None)
        G = gradient if weight is None else gradient * per_channel(weight.detach(), gradient)
        found = blocked(G, y).layer()
        if found.total > 0:
            passes += (found.passing * found.total).item()
            arrives += found.total.item()
    return 1 - passes / arrives if arrives else None


def blocked_share(model: nn.Module, part: Part, cell: NetworkCell, seed: int) -> float | None:
    """Of the squared gradient that arrives at the first norm's standardized features in training,
    the share that its backward pass blocks (T4); None where that is not BN's. Arguments as of
    :func:`bnblind.experiments.networks.blocking.blocked_shares`.
    """
    model = measured_in_training(copy.deepcopy(model).double())
    layer = first_norm(model)
    if not layer.blocks_as_bn:
        return None
    loss = training_loss(cell.loss)
    with watched(layer) as seen:
        for batch in whole_batches(part, cell, seed):
            logits = model(part[batch].double())
            loss(logits, part.labels[batch], "mean").backward()
    return share_blocked_by(layer, seen)
