from bnblind.norms import FrozenStatistics


class FrozenBatchNorm(FrozenStatistics):
    """``bn_frozen``: BN with statistics taken once from data, then constant."""

    control = True
