"""Intervals over seeds."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

from scipy.special import stdtrit

from bnblind.errors import BadInput

COVERAGE = 0.95


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the ends of Student's t interval for it, covering 95 %.

    Args:
        values: one per seed, taken as independent and normal; of a single one, no interval is
            known, and the ends are infinite.
    """
    if not values:
        raise BadInput("an interval needs at least one value; found none")
    mean = fmean(values)
    if len(values) == 1:
        return mean, -float("inf"), float("inf")
    quantile = float(stdtrit(len(values) - 1, (1 + COVERAGE) / 2))
    half = quantile * stdev(values) / sqrt(len(values))
    return mean, mean - half, mean + half
