"""``bn_frozen``: BN with constant statistics."""

from bnblind.norms.base import FrozenStatistics


class FrozenBatchNorm(FrozenStatistics):
    """``bn_frozen``: statistics taken once from data, then constant."""

    control = True
