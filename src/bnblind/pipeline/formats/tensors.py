"""Safetensors files: named tensors and one JSON description."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from bnblind.errors import BadInput


def tensors_bytes(tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> bytes:
    """Safetensors; ``description`` goes into one metadata key, since several have no order."""
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    text = json.dumps(description, sort_keys=True)
    return safetensors.torch.save(plain, {"description": text})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a safetensors file.

    Raises:
        BadInput: the file is truncated or not a safetensors file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise BadInput(
            f"{path} ({path.stat().st_size} bytes) is truncated or not a safetensors file: "
            f"{error}; delete it to have it made again"
        ) from error
    return tensors, json.loads(metadata.get("description", "{}"))
