"""A profile, checked whole before anything is planned."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell
from bnblind.pipeline.adoption import shown
from bnblind.pipeline.configuration.schema import DATASETS, datasets, read_yaml, violations
from bnblind.pipeline.declaration import Experiment

SCHEMA = Path("workflow/schemas/config.schema.yaml")
DATASETS_SCHEMA = Path("workflow/schemas/datasets.schema.yaml")


def config_schema(experiments: Iterable[Experiment]) -> dict[str, Any]:
    """The schema of a profile: what all say, and a section for each experiment that it runs."""
    schema: dict[str, Any] = read_yaml(SCHEMA)
    sections = {e.name: e.section for e in experiments if e.section is not None}
    if taken := sorted({*sections} & {*schema["properties"]}):
        raise BadInput(f"experiment {taken[0]}: the key {taken[0]!r} of a profile is not its own")
    schema["properties"] |= sections
    return schema


def _of_profile(config: Mapping[str, Any]) -> Iterator[str]:
    if config["root"] == "." and config["profile"] != "quick":
        yield (
            f"root: found '.' with profile {config['profile']!r}; allowed: '.' for quick only, "
            "whose results are the published ones; for others such as runs/NAME"
        )
    for name, split in config["data"].items():
        if split["validation"] + split.get("test", 0) >= 1:
            yield f"data.{name}: validation and test leave no training data; their sum must be < 1"
        own = datasets()[name].get("tested", 0)
        if own and "test" in split:
            yield f"data.{name}.test: found a share; allowed: none, it has {own} samples for tests"
        if not own and "test" not in split:
            yield f"data.{name}: test is missing; it has no samples for tests of its own"


def _duplicate_cells(config: Mapping[str, Any], experiments: Iterable[Experiment]) -> Iterator[str]:
    """Grids of an experiment that no column of its table tells apart: they may train one cell with
    different seeds, if all else is the same.
    """
    told = set()
    trained = ((e.name, e.training) for e in experiments if e.training)
    for experiment, training in trained:
        first: dict[tuple[Any, ...], tuple[str, Cell]] = {}
        for grid, cells in training.cells(config).items():
            for cell in cells:
                other, known = first.setdefault((*cell.identity.items(),), (grid, cell))
                both = sorted({*known.seeds} & {*cell.seeds})
                same = replace(known, seeds=()) == replace(cell, seeds=())
                if other != grid and (both or not same) and (grid, other) not in told:
                    told.add((grid, other))
                    found = ", ".join(map(str, cell.identity.values()))
                    yield (
                        f"{experiment}.{grid}: found {found}, which {experiment}.{other} trains as "
                        "well; allowed: other seeds, all else the same"
                    )


def _contradictions(config: Mapping[str, Any], experiments: list[Experiment]) -> list[str]:
    running = [experiment for experiment in experiments if experiment.runs_in(config)]
    lines = [*_of_profile(config)]
    lines += [
        f"{experiment.name}: needs the section {section!r}, which is not there"
        for experiment in running
        for section in experiment.needs
        if section not in config
    ]
    for experiment in running if not lines else ():
        lines += experiment.contradictions(config)
    if lines:
        return lines
    return [*_duplicate_cells(shown(config, experiments).config, running)]


def check_config(config: Mapping[str, Any], experiments: Iterable[Experiment]) -> None:
    """Check a profile, and the registry of data sets that it refers to. The BadInput names every
    offending key with what was found and what is allowed.
    """
    experiments = list(experiments)
    if lines := violations(datasets(), read_yaml(DATASETS_SCHEMA)):
        raise BadInput(f"{DATASETS}: " + "\n  ".join(lines))
    lines = violations(config, config_schema(experiments)) or _contradictions(config, experiments)
    if lines:
        raise BadInput("configuration: " + "\n  ".join(lines))
