"""Times taken in turn, round after round, so that a busy machine slows all calls alike."""

import statistics
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of several measurements."""

    median: float
    low: float
    high: float
    repeats: int

    @classmethod
    def of(cls, values: Collection[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values), len(values))


def seconds(call: Call, times: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def rounds(
    calls: Mapping[str, Call],
    repeats: int,
    *,
    times: int | None = None,
    few: Collection[str] = (),
    least: float = 0.02,
) -> dict[str, list[float]]:
    """Seconds of each call, one value per round; each round starts with another call.

    Args:
        times: calls for one value; None takes so many that a value lasts ``least`` seconds.
        few: names of slow calls, which run in the first three rounds only.
    """
    each = {}
    for name, call in calls.items():
        once = seconds(call)
        each[name] = times or max(1, round(least / once))
    names = list(calls)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            if name not in few or turn < 3:
                found[name].append(seconds(calls[name], each[name]))
    return found


def ratio(times: Collection[float], reference: Collection[float]) -> Spread:
    """Ratio of two calls, round by round, as far as both have run."""
    return Spread.of([a / b for a, b in zip(times, reference, strict=False)])
