"""The training losses of classifiers, by name.

To add one, write a function with this signature and name it in ``TRAINING_LOSSES``.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from bnblind.errors import unknown
from bnblind.losses import SAMPLE_LOSSES, LossFunction


def cross_entropy(logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
    """``cross_entropy``: softmax cross-entropy in nats of logits (n, C) and class numbers (n,),
    ``mean`` or ``sum`` over the samples, or ``none``.
    """
    return F.cross_entropy(logits, labels, reduction=reduction)


TrainingLoss = Callable[[Tensor, Tensor, str], Tensor]

TRAINING_LOSSES: dict[str, TrainingLoss] = {"cross_entropy": cross_entropy}


def training_loss(name: str) -> TrainingLoss:
    """The loss ``name``; raises BadInput if unknown."""
    if name not in TRAINING_LOSSES:
        raise unknown("training loss", name, TRAINING_LOSSES)
    return TRAINING_LOSSES[name]


def split_loss_of(name: str) -> str | LossFunction:
    """The same loss for :func:`bnblind.split_loss`: by name where the engine has it."""
    loss = training_loss(name)
    if name in SAMPLE_LOSSES:
        return name
    return lambda logits, labels: loss(logits, labels, "none")
