"""What an experiment is: all that the rest of the pipeline has to know of it, said once.

A module of :mod:`bnblind.pipeline.declarations` holds one ``EXPERIMENT``; its name is the
experiment's. From it come the rules of its page and of its training, its section of the
configuration, the tables that claims may read, its place on the first page and in the documents.
Imports no numerical library, since planning reads it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell, by_job, cell_type
from bnblind.pipeline.paths import Paths

Config = Mapping[str, Any]
Grids = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Training:
    """That the experiment trains cells.

    Attributes:
        kind: package of :mod:`bnblind.experiments` with the cell and its trainer.
        grids: the grids of a configuration, whole, by name.
        keeps: what is kept of each job beside its results, of ``weights`` and ``samples``.
    """

    kind: str
    grids: Callable[[Config], Grids]
    keeps: tuple[str, ...] = ()

    @cached_property
    def cell(self) -> type[Cell]:
        """The dataclass of its cells."""
        return cell_type(self.kind)

    def cells(self, config: Config) -> dict[str, list[Cell]]:
        """All cells of each grid; those of a job follow one another."""
        return {name: [*self.cell.of_grid(grid)] for name, grid in self.grids(config).items()}

    def jobs(self, config: Config) -> dict[str, dict[str, list[Cell]]]:
        """The cells of each job of each grid."""
        return {grid: by_job(cells) for grid, cells in self.cells(config).items()}

    def all_cells(self, config: Config) -> list[Cell]:
        return [cell for cells in self.cells(config).values() for cell in cells]

    def compared(self, figure: str) -> Callable[[Config], list[tuple[str, dict[str, str]]]]:
        """What a page draws that shows the figure of each comparison of the cells."""
        return lambda config: [
            (figure, {"comparison": cell.comparison(cell.identity)})
            for cell in self.all_cells(config)
        ]


def trained_again(
    section: str, change: Callable[[Mapping[str, Any]], Config]
) -> Callable[[Config], Grids]:
    """The grids of ``classification`` that a section names, each with what ``change`` makes of its
    settings there. They keep no weights, only their end is measured, and a run may diverge.
    """
    own = {"snapshots": [], "may_diverge": True, "course": False}
    return lambda config: {
        name: {**config["classification"][name], **change(settings), **own}
        for name, settings in config[section].items()
    }


def with_features(settings: Mapping[str, Any]) -> Config:
    """Settings of a section whose cells measure, on ``batches`` training batches, the features
    before the first norm and what is blocked there.
    """
    own = {key: value for key, value in settings.items() if key != "batches"}
    return {**own, "probed": settings["batches"], "features": True}


@dataclass(frozen=True)
class Computing:
    """That a step of the experiment's own computes its tables.

    It takes its settings as JSON, ``--settings``, and the path of each table by its option.

    Attributes:
        step: its module in :mod:`bnblind.pipeline.steps`.
        of_networks: it reads the data and the kept networks, ``--prepared`` and ``--weights``, of a
            grid of ``classification``, once for each grid of the section.
        norms: the norms that it builds itself, whose code it depends on.
    """

    step: str
    of_networks: bool = False
    norms: Callable[[Config], Iterable[str]] = lambda config: ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """The experiment's notebook, ``notebooks/NAME.ipynb``, which draws its figures.

    Attributes:
        captions: figure -> what it shows, and its message; on the page after what it is of.
        supplement: those that stand on the page below the heading Supplement; the first page shows
            the others.
        sentence: what it is about, on the first page.
        figures: name -> stem below ``reports/figures/NAME``, with fields in braces; if not given,
            each figure's own name.
        drawn: the figures of a configuration: a name, and the values of its stem's fields; if not
            given, each figure once.
        inputs: the notebook's parameters that are files: a path, a list or a mapping of them. If
            not given, the experiment's tables by their options, those of a grid by its name.
        parameters: its further ones, but ``numerics`` and ``figures``, which all have.
    """

    captions: Mapping[str, str]
    sentence: str
    figures: Mapping[str, str] = field(default_factory=dict)
    drawn: Callable[[Config], Iterable[tuple[str, Mapping[str, Any]]]] | None = None
    supplement: tuple[str, ...] = ()
    inputs: Callable[[Config, Paths], Mapping[str, Any]] | None = None
    parameters: Callable[[Config], Mapping[str, Any]] = lambda config: {}

    def __post_init__(self) -> None:
        if not self.figures:
            object.__setattr__(self, "figures", {name: name for name in self.captions})

    def all_drawn(self, config: Config) -> Iterable[tuple[str, Mapping[str, Any]]]:
        return self.drawn(config) if self.drawn else [(name, {}) for name in self.figures]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment.

    Attributes:
        name: key of its section, and name of its notebook, page and folders.
        title: heading on the first page and in the documents.
        order: place among the others there.
        section: schema of its section of the configuration; None if it has no settings.
        tables: option of the step -> table below ``data/results`` without its ending; ``{grid}``
            stands for each grid of the section. One that trains has a table of its own name.
        metrics: it writes ``data/results/NAME.json`` for ``dvc metrics``, as all do that train.
        training: what it trains.
        computing: the step that computes its tables, if it does not train.
        page: its notebook; None if another experiment's page shows it.
        contradictions: one line for each key that contradicts another one, found and allowed.
        needs: other sections that a profile with its section must have.
        of_profile: its page is of that profile's results, whatever experiment they are of.
    """

    name: str
    title: str
    order: int
    section: Mapping[str, Any] | None = None
    tables: Mapping[str, str] = field(default_factory=dict)
    metrics: bool = False
    training: Training | None = None
    computing: Computing | None = None
    page: Page | None = None
    contradictions: Callable[[Config], Iterator[str]] = lambda config: iter(())
    needs: tuple[str, ...] = ()
    of_profile: str = ""

    def __post_init__(self) -> None:
        if self.training:
            if self.tables or self.computing:
                raise TypeError("`training` stands beside `tables` or `computing`; allowed: alone")
            object.__setattr__(self, "tables", {"table": self.name})
            object.__setattr__(self, "metrics", True)

    def runs_in(self, config: Config) -> bool:
        """Whether a profile has its section, or it needs none; or is or shows its profile."""
        if self.of_profile:
            return self.of_profile in (config.get("profile"), *config.get("shows", ()))
        return self.section is None or self.name in config

    @property
    def of_grids(self) -> bool:
        """Whether its section holds grids of networks, which other profiles may show, and whose
        training amplifies rounding.
        """
        return bool(self.training or (self.computing and self.computing.of_networks))

    @property
    def trains(self) -> str:
        """Name of the rule whose jobs train its cells."""
        return f"train_{self.name}"

    @property
    def makes_tables(self) -> str:
        """Name of the rule that makes its tables."""
        return f"collect_{self.name}" if self.training else self.name

    @property
    def makes_page(self) -> str:
        """Name of the rule that makes its page and figures."""
        return f"{self.name}_page"

    def stem(self, figure: str, **fields: object) -> str:
        """Path of a figure below ``reports/figures``, without its ending."""
        assert self.page is not None
        try:
            return f"{self.name}/{self.page.figures[figure].format(**fields)}"
        except KeyError as error:
            raise BadInput(
                f"experiment {self.name}: draws {figure} with {sorted(fields)}, and there is no "
                f"{error} in its figures {dict(self.page.figures)}"
            ) from error

    def stems(self, config: Config) -> dict[str, str]:
        """Those of all its figures of a configuration -> the figures' names."""
        drawn = self.page.all_drawn(config) if self.page else ()
        return dict(sorted((self.stem(name, **fields), name) for name, fields in drawn))

    def main_stems(self, config: Config) -> list[str]:
        """Those of the figures that are not in its page's supplement, in their order there."""
        assert self.page is not None
        drawn, beside = self.page.all_drawn(config), self.page.supplement
        return list(dict.fromkeys(self.stem(n, **of) for n, of in drawn if n not in beside))

    def page_inputs(self, config: Config, paths: Paths) -> Mapping[str, Any]:
        """The parameters of its notebook that are files."""
        assert self.page is not None
        if self.page.inputs:
            return self.page.inputs(config, paths)
        return {
            option: {grid: paths.table(table.format(grid=grid)) for grid in config[self.name]}
            if "{grid}" in table
            else paths.table(table)
            for option, table in self.tables.items()
        }

    def of_config(self, tables: Iterable[str], config: Config) -> list[str]:
        """Those of a configuration: ``{grid}`` replaced by each grid of the section."""
        if not self.runs_in(config):
            return []
        grids = config.get(self.name) or [""]
        return list(dict.fromkeys(table.format(grid=grid) for table in tables for grid in grids))
