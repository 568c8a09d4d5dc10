"""Layers that couple the samples of a batch, or draw random numbers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from bnblind.errors import BadInput
from bnblind.norms import Norm


def couples(layer: nn.Module) -> bool:
    """Whether a sample's output or gradient there depends on the batch that it is given now."""
    if isinstance(layer, _BatchNorm):
        return layer.training or layer.running_mean is None
    return isinstance(layer, Norm) and layer.couples_batch and layer.training


def refuse_random(model: nn.Module) -> None:
    """Raise BadInput if a dropout layer of ``model`` is active."""
    for name, layer in model.named_modules():
        if isinstance(layer, _DropoutNd) and layer.training and layer.p > 0:
            raise BadInput(
                f"layer {name!r} ({type(layer).__name__}, p = {layer.p}) is in training mode: "
                "where it is called, the loss of a sample is random. Put it into evaluation mode, "
                f"model.get_submodule({name!r}).eval()"
            )


def generator_states() -> list[Tensor]:
    """States of torch's global generators: the CPU's, and the GPUs' where they are in use."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *gpus]


def drawn_since(before: list[Tensor]) -> bool:
    """Whether random numbers have been drawn from a global generator."""
    return any(not torch.equal(a, b) for a, b in zip(before, generator_states(), strict=False))


def drawing_layer(model: nn.Module, forward: Callable[[], object]) -> str | None:
    """The innermost layer of ``model`` that draws random numbers in ``forward``, named."""
    names = {module: name for name, module in model.named_modules()}
    states: list[list[Tensor]] = []
    found: list[nn.Module] = []

    def entered(module: nn.Module, args: object) -> None:
        states.append(generator_states())

    def left(module: nn.Module, args: object, output: object) -> None:
        if drawn_since(states.pop()) and module in names:
            found.append(module)

    # Torch's hooks on all modules: the model's own stay as they are.
    handles = [register_module_forward_pre_hook(entered), register_module_forward_hook(left)]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    if not found or not names[found[0]]:
        return None
    return f"layer {names[found[0]]!r} ({type(found[0]).__name__})"


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
