"""Intervals over seeds."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev

from scipy.special import stdtr, stdtrit

from bnblind.errors import BadInput

COVERAGE = 0.95


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the ends of Student's t interval for it, covering 95 %. The values, one per seed,
    are taken as independent and normal; of a single one no interval is known, and the ends are
    infinite.
    """
    if not values:
        raise BadInput("an interval needs at least one value; found none")
    mean = fmean(values)
    if len(values) == 1:
        return mean, -float("inf"), float("inf")
    quantile = float(stdtrit(len(values) - 1, (1 + COVERAGE) / 2))
    half = quantile * stdev(values) / sqrt(len(values))
    return mean, mean - half, mean + half


def one_sided_p(values: Sequence[float], bound: float) -> float:
    """Student's t test of the mean of two or more ``values`` against ``bound``: the probability of
    a mean so far on the side on which it lies, or farther, were ``bound`` the true one; of values
    that are all the same 0, or 1 if they are ``bound``. It is at most .025 where the 95 % interval
    of :func:`t_interval` does not hold ``bound``.
    """
    distance, spread = abs(fmean(values) - bound), stdev(values)
    if spread == 0:
        return 0.0 if distance else 1.0
    return float(stdtr(len(values) - 1, -distance * sqrt(len(values)) / spread))


def holm(p: Mapping[str, float], level: float) -> set[str]:
    """The tests that Holm's procedure (1979) rejects, by name. The probability that it rejects any
    hypothesis that is true is at most ``level``, if each ``p`` is that of its own test.
    """
    rejected: set[str] = set()
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        if p[name] > level / (len(p) - rank):
            break
        rejected.add(name)
    return rejected
