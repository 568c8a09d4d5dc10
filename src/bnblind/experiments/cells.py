"""Cells: what defines runs that differ in their seed only.

A cell's fields are all that its runs depend on. Each is declared once, on the dataclass: whether
it tells cells apart, which key of a grid lists its values, and whether each value is a job of its
own. Imports no numerical library, since planning makes cells, too.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from importlib import import_module
from itertools import product
from typing import Any, Self

from bnblind.errors import BadInput

JOBS = ("norm", "cell", "seed")
"""What one job may train."""

CHUNK = 2048
"""Samples that go through a network at once where nothing is trained."""

LAST = 3
"""Epochs over which a final accuracy is averaged, the last ones."""


def identity(
    place: int,
    *,
    axis: str = "",
    own_job: bool = False,
    compared: bool = False,
    default: Any = MISSING,
) -> Any:
    """A field that tells cells apart: a column of the tables of results.

    Args:
        place: of the column among the others.
        axis: the grid's key that lists the field's values; empty if a grid has one value.
        own_job: each value is trained by a job of its own.
        compared: cells that differ in it alone are drawn in one figure.
        default: not written where a cell has it, so that a new field with a default changes
            neither the files nor the names of the cells that were there before.
    """
    marks = {"place": place, "axis": axis, "own_job": own_job, "compared": compared}
    return field(default=default, metadata=marks)


def _word(name: str, value: Any) -> str:
    """A value in the name of a file: ``label``, ``lr0.01``, ``9v8``."""
    if isinstance(value, tuple):
        return "v".join(map(str, value))
    return value if isinstance(value, str) else f"{name}{value}"


@dataclass(frozen=True, kw_only=True)
class Cell(ABC):
    """What all kinds of cells have in common.

    Attributes:
        optimizer: its name and further settings, but for ``lr``.
        epochs: passes over the training part, at most.
        may_diverge: a run whose loss is no longer finite is a result, not an error.
        batches_per_epoch: of as many passes over the training part as it takes; None: one pass.
        jobs: what one job trains, of ``JOBS``; changes no result.
        device: where it trains, see :mod:`bnblind.experiments.devices`.
    """

    dataset: str = identity(0)
    norm: str = identity(3, axis="norms", own_job=True, compared=True)
    batching: str = identity(5, axis="batchings", compared=True)
    lr: float
    optimizer: Mapping[str, Any]
    batch_size: int
    epochs: int
    seeds: tuple[int, ...]
    may_diverge: bool = False
    batches_per_epoch: int | None = None
    jobs: str = JOBS[0]
    device: str = "cpu"

    summary = "networks"  # the kind whose final figures it has

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """From a mapping of the fields, those with a default if they differ; lists become tuples.
        Raises BadInput if a field is missing, or unknown.
        """
        known = {f.name: f.default is MISSING for f in fields(cls)}
        needed = {name for name, required in known.items() if required}
        if not needed <= set(settings) <= set(known):
            raise BadInput(
                f"a cell needs the settings {sorted(needed)} and may have "
                f"{sorted(set(known) - needed)}; found {sorted(settings)}"
            )
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in settings.items()
        }
        return cls(**values | {"lr": float(settings["lr"])})

    @classmethod
    def identity_fields(cls) -> list[Field[Any]]:
        """The fields that tell cells apart, in the order of their columns."""
        marked = (f for f in fields(cls) if "place" in f.metadata)
        return sorted(marked, key=lambda f: f.metadata["place"])

    @classmethod
    def of_grid(cls, grid: Mapping[str, Any]) -> Iterator[Self]:
        """Every cell of a grid, a mapping that gives each axis a list of values; one with a default
        may be left out. The cells of a job follow one another.
        """
        axes = [f for f in cls.identity_fields() if f.metadata["axis"]]
        axes = [f for f in axes if f.default is MISSING or f.metadata["axis"] in grid]
        axes.sort(key=lambda f: not f.metadata["own_job"])
        keys = [f.metadata["axis"] for f in axes]
        shared = {key: value for key, value in grid.items() if key not in keys}
        for values in product(*(grid[key] for key in keys)):
            varied = {f.name: value for f, value in zip(axes, values, strict=True)}
            yield cls.from_settings(shared | varied)

    def settings(self) -> dict[str, Any]:
        """The fields, without those at their default."""
        defaults = {f.name: f.default for f in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}

    @property
    def identity(self) -> dict[str, Any]:
        """What the columns of the results say of it; fields at their default are left out."""
        values = {f.name: (getattr(self, f.name), f.default) for f in self.identity_fields()}
        told = {name: value for name, (value, default) in values.items() if value != default}
        return {k: _word(k, v) if isinstance(v, tuple) else v for k, v in told.items()}

    @classmethod
    def named(cls, identity: Mapping[str, Any], fields: Iterable[Field[Any]] = ()) -> str:
        """The words for an identity's columns in their order, for those of ``fields`` if given."""
        known = {f.name: f.default for f in fields or cls.identity_fields() if f.name in identity}
        return "-".join(_word(n, identity[n]) for n, d in known.items() if identity[n] != d)

    @property
    def norms(self) -> set[str]:
        return {self.norm}

    @property
    def optimizer_settings(self) -> dict[str, Any]:
        """The optimizer's name and all its settings but the step size."""
        return dict(self.optimizer)

    @property
    def job(self) -> str:
        """Name of the job that trains it, among those of its grid: ``bn``."""
        return self.named(
            self.identity, [f for f in self.identity_fields() if f.metadata["own_job"]]
        )

    @property
    def key(self) -> str:
        """Its name among the cells of its job: ``label-lr0.01``."""
        marked = ((f, f.metadata) for f in self.identity_fields())
        return self.named(
            self.identity, [f for f, of in marked if of["axis"] and not of["own_job"]]
        )

    @classmethod
    def comparison_fields(cls) -> list[str]:
        """The columns that are the same for all cells of one figure."""
        return [f.name for f in cls.identity_fields() if not f.metadata["compared"]]

    @classmethod
    def comparison(cls, values: Mapping[str, Any]) -> str:
        """Name of what one figure compares norms and batchings in, ``digits-head-lr0.01``;
        ``values`` are of :meth:`comparison_fields`, or of some of them.
        """
        names = cls.comparison_fields()
        return cls.named(values, [f for f in cls.identity_fields() if f.name in names])

    def name(self, seed: int) -> str:
        """What a run is called in messages."""
        told = self.identity.items()
        words = (f"{name} {v}" if isinstance(v, float) else _word(name, v) for name, v in told)
        return f"{' '.join(words)} seed {seed}"

    @abstractmethod
    def kept_epochs(self, found: list[int]) -> list[int]:
        """Epochs whose weights a finished run keeps, of those ``found`` in its file."""


def cell_type(kind: str) -> type[Cell]:
    """The dataclass of a kind's cells, ``CELL`` of its module ``cell``."""
    cell: type[Cell] = import_module(f"bnblind.experiments.{kind}.cell").CELL
    return cell


def by_job(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """The cells of each job of a grid, with the seeds that it trains; as their ``jobs`` say."""
    jobs: dict[str, list[Cell]] = {}
    for cell in cells:
        plain, name = replace(cell, jobs=JOBS[0]), f"{cell.job}-{cell.key}".strip("-")
        if cell.jobs == "norm":
            parts = [(cell.job, plain)]
        elif cell.jobs == "cell":
            parts = [(name, plain)]
        else:
            parts = [(f"{name}-seed{seed}", replace(plain, seeds=(seed,))) for seed in cell.seeds]
        for job, part in parts:
            jobs.setdefault(job, []).append(part)
    return jobs
