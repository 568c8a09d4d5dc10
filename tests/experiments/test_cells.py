"""Cells: what tells them apart, how they are called, and that a new setting changes no old one."""

import json
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, product
from pathlib import Path
from typing import Any

import pytest

from bnblind import BadInput
from bnblind.experiments.cells import JOBS, Cell, by_job, identity
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.discovery import experiments
from tests.conftest import ROOT

NETWORK = {
    **{"dataset": "digits", "model": "head", "norm": "bn", "batching": "label", "lr": 0.01},
    **{"batch_size": 16, "epochs": 3, "seeds": [0, 1], "snapshots": []},
    "optimizer": {"name": "sgd", "momentum": 0.9},
}
FLOW = {
    **{"dataset": "digits", "pair": [9, 8], "coupling": "mlp", "couplings": 2},
    **{"width": 16, "depth": 1, "constraint": 0.9, "norm": "bn", "coupling_norm": "scalar"},
    **{"batching": "label", "lr": 0.001, "optimizer": {"name": "adamax"}, "batch_size": 64},
    **{"scale_regularization": 5e-5, "epochs": 3, "patience": 3, "mixtures": 20, "samples": 4},
    "seeds": [0, 1],
}
KINDS = [(NetworkCell, NETWORK), (FlowCell, FLOW)]


@dataclass(frozen=True, kw_only=True)
class LaterCell(NetworkCell):
    """The classifiers' cell with two settings that a later version adds: an axis of the grid with
    a column among the others, and a setting of the whole grid.
    """

    warmup: int = identity(2, axis="warmups", default=0)
    schedule: str = identity(8, default="constant")


def later(**changes: Any) -> LaterCell:
    return LaterCell.from_settings({**NETWORK, **changes})


def words(cell: Cell) -> dict[str, Any]:
    """All that files, tables and messages say of a cell."""
    return {
        "settings": cell.settings(),
        "columns": list(cell.identity.items()),
        "job": cell.job,
        "key": cell.key,
        "comparison": cell.comparison(cell.identity),
        "name": cell.name(3),
    }


OLD = words(NetworkCell.from_settings(NETWORK))


@pytest.mark.parametrize("changes", [{}, {"warmup": 0}, {"schedule": "constant", "warmup": 0}])
def test_a_new_setting_leaves_cells_at_its_default_as_they_were(changes: dict[str, Any]) -> None:
    """Written out or not: settings and names decide over files, jobs and checkpoints."""
    assert words(later(**changes)) == OLD


def test_a_new_setting_tells_other_cells_apart() -> None:
    """The axis in the job's files and in the columns' order; what a grid has one of, in its place
    among the figures.
    """
    both = later(warmup=5, schedule="cosine")
    assert words(both) == {
        "settings": {**OLD["settings"], "warmup": 5, "schedule": "cosine"},
        "columns": [
            *(("dataset", "digits"), ("model", "head"), ("warmup", 5), ("norm", "bn")),
            *(("batching", "label"), ("lr", 0.01), ("schedule", "cosine")),
        ],
        "job": "bn",
        "key": "warmup5-label-lr0.01",
        "comparison": "digits-head-warmup5-lr0.01-cosine",
        "name": "digits head warmup5 bn label lr 0.01 cosine seed 3",
    }
    assert words(later(schedule="cosine"))["key"] == OLD["key"]
    assert later(warmup=5).settings() == {**OLD["settings"], "warmup": 5}


def test_a_figure_of_old_cells_keeps_its_name_where_the_table_has_the_new_column() -> None:
    """Among others' cells, an old cell's row holds the default."""
    row = later().identity | {"warmup": 0, "schedule": "constant"}
    assert LaterCell.comparison(row) == OLD["comparison"]
    assert LaterCell.comparison(row | {"warmup": 5}) == "digits-head-warmup5-lr0.01"


def test_a_grid_that_does_not_list_a_new_axis_has_the_cells_it_had() -> None:
    grid = {key: value for key, value in NETWORK.items() if key not in ("norm", "batching", "lr")}
    grid |= {"norms": ["bn", "ln"], "batchings": ["label"], "learning_rates": [0.1, 0.01]}
    old = [*map(words, NetworkCell.of_grid(grid))]
    assert [*map(words, LaterCell.of_grid(grid))] == old
    varied = [*LaterCell.of_grid({**grid, "warmups": [0, 5]})]
    assert len(varied) == 2 * len(old)
    assert [words(cell) for cell in varied if not cell.warmup] == old


AXES = {
    NetworkCell: {
        **{"norms": ["none", "bn", "ln"], "batchings": ["random", "label"]},
        "learning_rates": [0.1, 0.01],
    },
    FlowCell: {
        **{"pairs": [[9, 8], [1, 0]], "norms": ["bn", "ln"], "coupling_norms": ["none", "scalar"]},
        "batchings": ["random", "label"],
    },
}
FIELDS = {
    **{"norms": "norm", "batchings": "batching", "learning_rates": "lr"},
    **{"pairs": "pair", "coupling_norms": "coupling_norm"},
}


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_a_grid_has_every_combination_once_and_jobs_in_one_piece(
    kind: type[Cell], settings: dict[str, Any]
) -> None:
    axes = AXES[kind]
    varied = [FIELDS[axis] for axis in axes]
    shared = {name: value for name, value in settings.items() if name not in varied}
    cells = [*kind.of_grid(shared | axes)]
    found = [tuple(getattr(cell, name) for name in varied) for cell in cells]
    values = [[tuple(v) if isinstance(v, list) else v for v in axis] for axis in axes.values()]
    assert sorted(found) == sorted(product(*values))
    assert all({name: kept(cell)[name] for name in shared} == shared for cell in cells)
    jobs = [job for job, _ in groupby(cells, lambda cell: cell.job)]
    assert len(jobs) == len(set(jobs)) == (3 if kind is NetworkCell else 4)
    assert by_job(cells) == {job: [cell for cell in cells if cell.job == job] for job in jobs}


def kept(cell: Cell) -> dict[str, Any]:
    """Its settings as a profile writes them."""
    return {k: [*v] if isinstance(v, tuple) else v for k, v in cell.settings().items()}


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_a_cell_is_read_back_from_what_is_written_of_it(
    kind: type[Cell], settings: dict[str, Any]
) -> None:
    """Also from JSON and YAML, which have lists where a cell has tuples."""
    cell = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
    assert kept(cell) == settings
    assert kind.from_settings(cell.settings()) == cell
    assert kind.from_settings(json.loads(json.dumps(cell.settings()))) == cell


def test_a_whole_number_as_step_size_is_the_same_cell() -> None:
    """YAML reads 1 as an integer; names and settings must not depend on how it is written."""
    one, other = (NetworkCell.from_settings({**NETWORK, "lr": lr}) for lr in (1, 1.0))
    assert words(one) == words(other)
    assert one.key == "label-lr1.0"


@pytest.mark.parametrize("missing", ["dataset", "norm", "optimizer", "seeds"])
@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_a_missing_setting_is_refused_and_named(
    kind: type[Cell], settings: dict[str, Any], missing: str
) -> None:
    rest = {name: value for name, value in settings.items() if name != missing}
    with pytest.raises(BadInput) as refused:
        kind.from_settings(rest)
    needed, found = str(refused.value).split("found")
    assert needed.startswith("a cell needs the settings ")
    assert repr(missing) in needed
    assert repr(missing) not in found
    assert all(repr(name) in found for name in rest)


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_an_unknown_setting_is_refused_and_named(
    kind: type[Cell], settings: dict[str, Any]
) -> None:
    with pytest.raises(BadInput) as refused:
        kind.from_settings({**settings, "colour": "red"})
    allowed, found = str(refused.value).split("found")
    assert "'colour'" not in allowed
    assert "'colour'" in found
    assert "may have" in allowed
    assert "'may_diverge'" in allowed


def test_snapshots_behind_the_last_epoch_are_refused() -> None:
    with pytest.raises(BadInput, match=r"snapshots \[4, 9\] lie after the last epoch, 3"):
        NetworkCell.from_settings({**NETWORK, "snapshots": [1, 4, 3, 9]})


def test_epochs_that_are_kept() -> None:
    """Of a classifier those that its settings name; of a flow the one that was found best."""
    cell = NetworkCell.from_settings({**NETWORK, "snapshots": [2, 1]})
    assert cell.kept_epochs([7]) == [0, 1, 2, 3]
    flow = FlowCell.from_settings(FLOW)
    assert flow.kept_epochs([2]) == [2]
    assert len(flow.kept_epochs([])) == 1
    assert flow.kept_epochs([1, 2]) == [1]


def one_to_one(pairs: Iterable[tuple[Hashable, Hashable]]) -> bool:
    """Whether each left side has one right side, and the other way round."""
    distinct = set(pairs)
    return len({a for a, _ in distinct}) == len({b for _, b in distinct}) == len(distinct)


def test_one_to_one() -> None:
    assert one_to_one([(1, "a"), (2, "b"), (1, "a")])
    assert not one_to_one([(1, "a"), (2, "a")])
    assert not one_to_one([(1, "a"), (1, "b")])


@pytest.fixture(scope="module")
def published() -> dict[str, dict[str, list[Cell]]]:
    """The cells that config/config.yaml trains: by experiment, then by grid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        config = read_yaml(Path("config/config.yaml"))
        declared = experiments().items()
        training = {n: e.training for n, e in declared if e.training and e.runs_in(config)}
    assert {"classification", "rates", "purity", "flows"} <= set(training)
    return {name: of.cells(config) for name, of in training.items()}


def told(cell: Cell, marks: dict[str, Any]) -> tuple[Any, ...]:
    """The values of the fields whose marks those are."""
    names = [f.name for f in cell.identity_fields() if marks.items() <= f.metadata.items()]
    return tuple(getattr(cell, name) for name in names)


def grids(published: dict[str, dict[str, list[Cell]]]) -> Iterator[list[Cell]]:
    for of_experiment in published.values():
        yield from of_experiment.values()


def test_jobs_of_a_grid_are_told_apart(published: dict[str, dict[str, list[Cell]]]) -> None:
    for cells in grids(published):
        assert one_to_one((told(cell, {"own_job": True}), cell.job) for cell in cells)
        assert all(cell.job for cell in cells)


def test_cells_of_a_job_are_told_apart(published: dict[str, dict[str, list[Cell]]]) -> None:
    for cells in grids(published):
        for of_job in by_job(cells).values():
            assert len({cell.key for cell in of_job}) == len(of_job)
            assert len({str(cell.identity) for cell in of_job}) == len(of_job)


def test_runs_of_an_experiment_are_told_apart(
    published: dict[str, dict[str, list[Cell]]],
) -> None:
    """So that a message of a job's log names one run, and a table of results holds none twice."""
    for of_experiment in published.values():
        runs = [(c, seed) for cells in of_experiment.values() for c in cells for seed in c.seeds]
        assert len({cell.name(seed) for cell, seed in runs}) == len(runs) > 30
        assert len({str(cell.identity | {"seed": seed}) for cell, seed in runs}) == len(runs)


def test_comparisons_are_told_apart_by_what_is_not_compared(
    published: dict[str, dict[str, list[Cell]]],
) -> None:
    """One name for all cells of a figure, and never one for two figures."""
    for of_experiment in published.values():
        cells = [cell for of_grid in of_experiment.values() for cell in of_grid]
        compared = [(told(cell, {"compared": False}), words(cell)["comparison"]) for cell in cells]
        assert one_to_one(compared)
        assert all(name for _, name in compared)


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_share_out_the_same_runs_in_the_same_order(kind: Any) -> None:
    """Whatever a job trains; and its own cells know nothing of it."""
    cell, settings = kind
    axes = {"norms": ["bn", "ln"], "batchings": ["random", "label"], "learning_rates": [0.1, 0.2]}
    grid = {**settings, **axes, "pairs": [[9, 8]], "coupling_norms": ["scalar"]}
    for singular in (
        "norm",
        "batching",
        "pair",
        "coupling_norm",
        *(["lr"] * (cell is NetworkCell)),
    ):
        grid.pop(singular, None)
    if cell is FlowCell:
        del grid["learning_rates"]
    else:
        del grid["pairs"], grid["coupling_norms"]
    shared = {word: by_job(cell.of_grid({**grid, "jobs": word})) for word in JOBS}
    runs = {
        word: [(own, seed) for cells in jobs.values() for own in cells for seed in own.seeds]
        for word, jobs in shared.items()
    }
    plain = [[(replace(own, seeds=()), seed) for own, seed in of] for of in runs.values()]
    assert plain[0] == plain[1] == plain[2]
    cells = len(plain[0]) // 2
    assert [len(jobs) for jobs in shared.values()] == [2, cells, 2 * cells]
    assert all("jobs" not in own.settings() for own, _ in runs["seed"])
    assert next(iter(shared["seed"])).endswith("-seed0")
    assert shared["norm"] == by_job(cell.of_grid(grid))
