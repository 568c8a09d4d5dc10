"""The experiments that are declared, found by listing their folder."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from bnblind.errors import BadInput
from bnblind.pipeline.declaration import Experiment

PACKAGE = "bnblind.pipeline.declarations"
FOLDER = Path("src", *PACKAGE.split("."))
STEPS = FOLDER.parent / "steps"
KINDS = Path("src/bnblind/experiments")
KEPT = ("weights", "samples")


def _lacking(name: str, experiment: Experiment) -> Iterator[str]:
    """What a declaration promises and does not have."""
    if experiment.name != name:
        yield f"is called {experiment.name!r} in {name}.py; allowed: {name!r}"
    if experiment.page and not Path(f"notebooks/{name}.ipynb").is_file():
        yield f"has a page but no notebook notebooks/{name}.ipynb"
    if experiment.page and {*experiment.page.captions} != {*experiment.page.figures}:
        figures = ", ".join(experiment.page.figures)
        yield f"has captions of {', '.join(experiment.page.captions)}; allowed: of {figures}"
    if experiment.tables and not experiment.section:
        yield "has tables without a `section` of the configuration"
    if bool(experiment.tables) != bool(experiment.training or experiment.computing):
        yield "has `tables`, `training` or `computing` alone; allowed: tables and what makes them"
    if len({*experiment.tables.values()}) < len(experiment.tables):
        yield f"has one table under two options: {dict(experiment.tables)}"
    if training := experiment.training:
        if not (KINDS / training.kind / "cell.py").is_file():
            yield f"trains {training.kind}, and there is no {KINDS / training.kind}/cell.py"
        if not {*training.keeps} <= {*KEPT}:
            yield f"keeps {list(training.keeps)}; allowed: some of {', '.join(KEPT)}"
    of_networks = bool(experiment.computing and experiment.computing.of_networks)
    for table in experiment.tables.values():
        if ("{grid}" in table) != of_networks:
            allowed = "with" if of_networks else "without"
            yield f"has {of_networks=} and the table {table}; allowed: {allowed} {{grid}}"
    if (of := experiment.computing) and not (STEPS / f"{of.step}.py").is_file():
        yield f"is computed by the step {of.step}, and there is no {STEPS / of.step}.py"
    if not (experiment.tables or experiment.page):
        yield "has neither `tables` nor a `page`"


def declared(name: str) -> Experiment:
    """The experiment of that name; raises BadInput if its declaration lacks a part."""
    place = f"experiment {name} ({FOLDER / name}.py)"
    try:
        experiment = import_module(f"{PACKAGE}.{name}").EXPERIMENT
    except (AttributeError, TypeError) as error:
        raise BadInput(f"{place}: {error}") from error
    if not isinstance(experiment, Experiment):
        raise BadInput(
            f"{place}: EXPERIMENT is a {type(experiment).__name__}; allowed: an Experiment"
        )
    if lacking := [*_lacking(name, experiment)]:
        raise BadInput(f"{place}: " + "\n  ".join(lacking))
    return experiment


def experiments() -> dict[str, Experiment]:
    """Every experiment by name, in the order in which they are shown."""
    files = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "__init__")
    found = sorted(map(declared, files), key=lambda experiment: experiment.order)
    return {experiment.name: experiment for experiment in found}


def judged_tables(experiments: Iterable[Experiment]) -> list[str]:
    """Names of the tables that claims may read; ``{grid}`` stands for a grid."""
    return [table for experiment in experiments for table in experiment.tables.values()]
