"""A profile, checked whole before anything is planned."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.pipeline.configuration.schema import DATASETS, datasets, read_yaml, violations
from bnblind.pipeline.declaration import Experiment

SCHEMA = Path("workflow/schemas/config.schema.yaml")
DATASETS_SCHEMA = Path("workflow/schemas/datasets.schema.yaml")


def config_schema(experiments: Iterable[Experiment]) -> dict[str, Any]:
    """The schema of a profile: what all say, and a section for each experiment with settings."""
    schema: dict[str, Any] = read_yaml(SCHEMA)
    sections = {e.name: e.section for e in experiments if e.section is not None}
    if taken := sorted({*sections} & {*schema["properties"]}):
        raise BadInput(f"experiment {taken[0]}: the key {taken[0]!r} of a profile is not its own")
    schema["required"] += sections
    schema["properties"] |= sections
    return schema


def _of_profile(config: Mapping[str, Any]) -> Iterator[str]:
    if config["root"] == "." and config["profile"] != "quick":
        yield (
            f"root: found '.' with profile {config['profile']!r}; allowed: '.' for quick only, "
            "whose results are the published ones; for others such as runs/NAME"
        )
    for name, split in config["data"].items():
        if split["validation"] + split["test"] >= 1:
            yield f"data.{name}: validation and test leave no training data; their sum must be < 1"


def _duplicate_cells(config: Mapping[str, Any], experiments: Iterable[Experiment]) -> Iterator[str]:
    """Grids, also of several experiments, that train the same cell: no column tells them apart.

    Grids of one name are not held against each other: one sweep is checked against its grid where
    it is declared, and a grid may keep the weights of a purity that its sweep only measures.
    """
    first: dict[tuple[Any, ...], tuple[str, str]] = {}
    told = set()
    trained = ((e.name, e.training) for e in experiments if e.training)
    for experiment, training in trained:
        for grid, cells in training.cells(config).items():
            place = f"{experiment}.{grid}"
            for cell in cells:
                identity = (training.kind, *cell.identity.items())
                other, other_grid = first.setdefault(identity, (place, grid))
                if other_grid != grid and (place, other) not in told:
                    told.add((place, other))
                    found = ", ".join(map(str, cell.identity.values()))
                    yield (
                        f"{place}: found {found}, which {other} trains as well; allowed: one of "
                        "them"
                    )


def _contradictions(config: Mapping[str, Any], experiments: Iterable[Experiment]) -> list[str]:
    lines = [*_of_profile(config)]
    for experiment in experiments:
        lines += experiment.contradictions(config)
    return lines or [*_duplicate_cells(config, experiments)]


def check_config(config: Mapping[str, Any], experiments: Iterable[Experiment]) -> None:
    """Check a profile, and the registry of data sets that it refers to.

    Raises:
        BadInput: names every offending key with what was found and what is allowed.
    """
    experiments = list(experiments)
    if lines := violations(datasets(), read_yaml(DATASETS_SCHEMA)):
        raise BadInput(f"{DATASETS}: " + "\n  ".join(lines))
    if lines := violations(config, config_schema(experiments)) or _contradictions(
        config, experiments
    ):
        raise BadInput("configuration: " + "\n  ".join(lines))
