from bnblind.norms import Identity


class NoNorm(Identity):
    """``none``: no norm, the baseline: the identity, without parameters."""
