"""The normalization variants: each a file of its own, named as the configuration names it.

This file imports no variant: who uses one variant depends on its file and on ``base.py`` alone.
"""

from bnblind.norms.base import (
    BatchStatistics,
    FrozenStatistics,
    Fused,
    Norm,
    NormFactory,
    StoredStatistics,
    build_norm,
    freeze_statistics,
    is_variant,
    norm_class,
    norm_names,
)

__all__ = [
    "BatchStatistics",
    "FrozenStatistics",
    "Fused",
    "Norm",
    "NormFactory",
    "StoredStatistics",
    "build_norm",
    "freeze_statistics",
    "is_variant",
    "norm_class",
    "norm_names",
]
