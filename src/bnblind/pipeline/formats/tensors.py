"""Sealed safetensors files: named tensors and one JSON description."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from bnblind.errors import BadInput
from bnblind.pipeline.formats.seal import BLANK, KEY, check_seal, sealed


def tensors_bytes(tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> bytes:
    """Safetensors; all metadata go into one key, since several have no order."""
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    text = json.dumps({KEY: BLANK, **description}, sort_keys=True)
    return sealed(safetensors.torch.save(plain, {"description": text}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a safetensors file; raises BadInput if it was altered, or is none
    of :func:`tensors_bytes`.
    """
    check_seal(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            description = json.loads(file.metadata()["description"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        del description[KEY]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path} is not a file of tensors: {error!r}; delete it") from error
    return tensors, description
