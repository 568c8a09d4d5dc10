"""Figures of a benchmark, printed as they come and kept for a table."""

from dataclasses import dataclass

from timing import Spread


@dataclass(frozen=True)
class Result:
    """One measured figure; ``bar`` is what it should not pass, ``""`` if there is none."""

    section: str
    measure: str
    median: float
    low: float
    high: float
    repeats: int
    unit: str
    bar: str
    verdict: str


def short(value: float) -> str:
    """Three digits, without an exponent for large values."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class Section:
    """Prints figures as they come and keeps them."""

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.results: list[Result] = []
        print(f"\n{title}", flush=True)

    def add(
        self,
        measure: str,
        found: Spread | float,
        unit: str = "",
        *,
        most: float | None = None,
        least: float | None = None,
    ) -> None:
        if not isinstance(found, Spread):
            found = Spread(found, found, found, 1)
        bar = verdict = said = ""
        if most is not None or least is not None:
            bar = f"<= {most:g}" if most is not None else f">= {least:g}"
            met = found.median <= most if most is not None else found.median >= (least or 0.0)
            verdict = "met" if met else "missed"
            said = f"   bar {bar}{unit}: {verdict}"
        spread = (
            f"({short(found.low)} to {short(found.high)}, {found.repeats} repeats)"
            if found.repeats > 1
            else ""
        )
        print(f"  {measure:66} {short(found.median):>8}{unit:5} {spread}{said}", flush=True)
        numbers = found.median, found.low, found.high, found.repeats
        self.results.append(Result(self.name, measure, *numbers, unit, bar, verdict))

    def add_rows(self, n: int, classes: int, measured: Spread, most: float | None = None) -> None:
        """The bound: the total gradient needs n rows, the split those and C - 1 more."""
        bound = (n + classes - 1) / n
        self.add("split / gradient with respect to y only", measured, " x", most=most)
        self.add("  lower bound of that, (n + C - 1) / n", bound, " x")
        self.add("  measured / lower bound", measured.median / bound, " x")
