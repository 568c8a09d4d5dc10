"""All that a call must leave as it was: parameters, buffers, modes, hooks, gradients, generator."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks


def bits(tensor: Tensor | None) -> Any:
    """The tensor's bytes, so that NaN equals itself and -0.0 is not 0.0."""
    if tensor is None:
        return None
    whole = tensor.detach().contiguous().clone()
    return (
        tensor.dtype,
        tuple(tensor.shape),
        whole.reshape(-1).view(torch.uint8).numpy().tobytes(),
    )


def snapshot(model: nn.Module, *tensors: Tensor) -> dict[str, Any]:
    """Comparable by ``==``."""
    state: dict[str, Any] = {
        "generator": bits(torch.random.get_rng_state()),
        "grad_mode": torch.is_grad_enabled(),
        "hooks on all modules": (*_global_forward_hooks, *_global_forward_pre_hooks),
        "tensors": [(bits(t), bits(t.grad) if t.is_leaf else None) for t in tensors],
    }
    for name, parameter in model.named_parameters():
        own = (id(parameter), parameter.requires_grad, bits(parameter), bits(parameter.grad))
        state[f"parameter {name}"] = own
    for name, buffer in model.named_buffers():
        state[f"buffer {name}"] = (id(buffer), bits(buffer))
    for name, module in model.named_modules(remove_duplicate=False):
        hooks = [(key, tuple(found)) for key, found in vars(module).items() if "hooks" in key]
        names = tuple(key for key in vars(module) if not key.startswith("_"))
        state[f"module {name}"] = (id(module), module.training, hooks, names, bool(hooks))
    return state
