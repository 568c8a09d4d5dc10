"""Intervals over seeds against tabled quantiles and repeated draws."""

import random
from math import inf, sqrt

import pytest

from bnblind import BadInput
from bnblind.experiments.intervals import holm, one_sided_p, t_interval


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


def test_a_test_is_one_sided_and_students() -> None:
    """By hand: values 1, 2, 3 against 0: t = 2 / (1 / sqrt 3) = 3.4641 on 2 degrees of freedom,
    where P(T > t) = 1/2 - t / (2 sqrt(2 + t^2)) = .0370.
    """
    assert one_sided_p([1.0, 2.0, 3.0], 0.0) == pytest.approx(0.5 - 3.4641016 / (2 * 14**0.5))
    assert one_sided_p([1.0, 2.0, 3.0], 4.0) == pytest.approx(one_sided_p([1.0, 2.0, 3.0], 0.0))
    assert one_sided_p([2.0, 2.0], 2.0) == 1.0
    assert one_sided_p([2.0, 2.0], 1.9) == 0.0


@pytest.mark.parametrize("bound", [-0.4, 0.0, 0.31, 0.5, 0.8, 1.1])
def test_a_test_agrees_with_the_interval(bound: float) -> None:
    values = [0.3, 0.4, 0.9, 0.5]
    _, low, high = t_interval(values)
    assert (one_sided_p(values, bound) <= 0.025) == (not low < bound < high)


def test_holms_procedure_stops_at_the_first_that_fails() -> None:
    """Holm's levels for four tests at .05: .0125, .0167, .025, .05."""
    p = {"a": 0.01, "b": 0.026, "c": 0.03, "d": 0.005}
    assert holm(p, 0.05) == {"a", "d"}
    assert holm(p | {"b": 0.0249}, 0.05) == {"a", "d", "b", "c"}
    assert holm({"a": 0.03}, 0.025) == set()
    assert holm({}, 0.05) == set()
