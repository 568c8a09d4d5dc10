"""Intervals over seeds against tabled quantiles and repeated draws."""

import random
from math import inf, sqrt

import pytest

from bnblind import BadInput
from bnblind.experiments.intervals import t_interval


@pytest.mark.parametrize(("n", "quantile"), [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262)])
def test_the_ends_are_students(n: int, quantile: float) -> None:
    """Quantiles from any table of the t distribution, 97.5 %, n - 1 degrees of freedom."""
    values = [float(i) for i in range(n)]
    mean, low, high = t_interval(values)
    variance = sum((v - mean) ** 2 for v in values) / (n - 1)
    assert mean == pytest.approx((n - 1) / 2)
    assert high - mean == pytest.approx(mean - low)
    assert high - mean == pytest.approx(quantile * sqrt(variance / n), rel=2e-4)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    draw = random.Random(0)
    covered = 0
    for _ in range(4000):
        _, low, high = t_interval([draw.gauss(1, 2) for _ in range(3)])
        covered += low <= 1 <= high
    assert covered / 4000 == pytest.approx(0.95, abs=0.012)


def test_one_value_has_no_interval_and_none_is_refused() -> None:
    assert t_interval([2.0]) == (2.0, -inf, inf)
    with pytest.raises(BadInput, match="at least one value"):
        t_interval([])
