"""Batch normalization is blind to the first and second derivatives of the loss.

The library splits a loss at a normalization layer and says how much of its gradient
the layer blocks; the pipeline on top of it reproduces arXiv:2205.15146.

Names are loaded on first use: ``import bnblind`` alone loads nothing but this file, and
using the library loads torch only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnblind.errors import BadInput
    from bnblind.model_split import split_loss
    from bnblind.norms import build_norm
    from bnblind.probe import BlindnessProbe
    from bnblind.shares import Blocked, blocked
    from bnblind.split import Split, split_head
    from bnblind.standardization import bn_backward, standardize
    from bnblind.swap import swap_norm

__version__ = "0.1.0"

_HOME = {
    "BadInput": "bnblind.errors",
    "BlindnessProbe": "bnblind.probe",
    "Blocked": "bnblind.shares",
    "Split": "bnblind.split",
    "blocked": "bnblind.shares",
    "bn_backward": "bnblind.standardization",
    "build_norm": "bnblind.norms",
    "split_head": "bnblind.split",
    "split_loss": "bnblind.model_split",
    "standardize": "bnblind.standardization",
    "swap_norm": "bnblind.swap",
}

__all__ = [
    "BadInput",
    "BlindnessProbe",
    "Blocked",
    "Split",
    "blocked",
    "bn_backward",
    "build_norm",
    "split_head",
    "split_loss",
    "standardize",
    "swap_norm",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bnblind' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
