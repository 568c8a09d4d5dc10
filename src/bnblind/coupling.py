"""Layers that couple the samples of a batch, or draw random numbers."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from bnblind.errors import BadInput
from bnblind.norms import BatchStatistics, FrozenBatchNorm


def couples(layer: nn.Module) -> bool:
    """Whether the layer takes its statistics from the batch that it is given now."""
    if isinstance(layer, _BatchNorm):
        return layer.training or layer.running_mean is None
    if isinstance(layer, FrozenBatchNorm):
        return False
    return isinstance(layer, BatchStatistics) and layer.training


def refuse_random(model: nn.Module) -> None:
    """Raise BadInput if a dropout layer of ``model`` is active."""
    for name, layer in model.named_modules():
        if isinstance(layer, _DropoutNd) and layer.training and layer.p > 0:
            raise BadInput(
                f"layer {name!r} ({type(layer).__name__}, p = {layer.p}) is in training mode: the "
                "loss of a sample is random. Put it into evaluation mode, "
                f"model.get_submodule({name!r}).eval()"
            )


def refuse_coupled(head: nn.Module) -> None:
    """Raise BadInput if a layer of ``head`` couples the samples of a batch or is random."""
    refuse_random(head)
    for name, layer in head.named_modules():
        if couples(layer):
            raise BadInput(coupled(name, layer))


def coupled(name: str, layer: nn.Module) -> str:
    return (
        f"layer {name!r} ({type(layer).__name__}) takes its statistics from the batch and so "
        "couples the samples: the loss of one sample is not a function of its own features. "
        "Only `blocked` is defined here (BlindnessProbe measures it)"
    )
