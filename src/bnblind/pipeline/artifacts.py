"""Every file that a configuration makes: what it is, and what makes it."""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from difflib import get_close_matches
from os.path import normpath
from typing import Any

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell
from bnblind.pipeline.adoption import Shown, shown
from bnblind.pipeline.declaration import Config, Experiment
from bnblind.pipeline.paths import Paths

STAGES = ("prepared", "trained", "analysed", "reported")
"""Raw and prepared data; what runs leave; tables of results; figures and pages."""


@dataclass(frozen=True)
class Artifact:
    """A file that a rule makes.

    Attributes:
        path: relative to the project's folder.
        kind: ``data``, ``weights``, ``table``, ``metrics``, ``samples``, ``figure`` or ``page``.
        stage: one of ``STAGES``.
        rule: Snakemake's name of what makes it.
        experiment: that it belongs to; empty if to several.
        owner: the profile that has published it, of which it is a copy; empty: this one makes it.
        taken_from: that profile's file.
        part: which of the rule's jobs makes it, as its log is called; empty: it has one job.
    """

    path: str
    kind: str
    stage: str
    rule: str
    experiment: str = ""
    owner: str = ""
    taken_from: str = ""
    part: str = ""

    @property
    def job(self) -> str:
        """Name of the log of the job that makes it."""
        return f"{self.rule}/{self.part}" if self.part else self.rule

    @property
    def maker(self) -> str:
        return f"rule {self.rule} of experiment {self.experiment}".removesuffix(" of experiment ")


def _of_data(
    config: Mapping[str, Any], datasets: Mapping[str, Any], paths: Paths
) -> Iterator[Artifact]:
    for name in config["data"]:
        for file in datasets[name]["files"]:
            path, part = paths.raw(name, file), f"{name}-{file}"
            yield Artifact(path, "data", "prepared", "export_data", part=part)
        for path in (paths.prepared(name), paths.manifest(name)):
            yield Artifact(path, "data", "prepared", "prepare_data", part=name)
        for path in paths.figure(f"data/{name}"):
            yield Artifact(path, "figure", "reported", "contact_sheet", part=name)


def adopting(profile: str) -> str:
    """Name of the rule that takes over what another profile has published."""
    return f"adopt_{profile}"


def _of_training(experiment: Experiment, whole: Shown, paths: Paths) -> Iterator[Artifact]:
    name, training = experiment.name, experiment.training
    kinds = {"weights": "weights", "results": "table", "samples": "samples"}
    if training is None:
        return
    for grid, jobs in training.jobs(whole.config).items():
        owner = whole.owner(name, grid)
        for job in jobs:
            for kept in ("results", *training.keeps):
                place = (kept, name, grid, job)
                path, kind = paths.trained(*place), kinds[kept]
                if not owner:
                    rule, part = experiment.trains, f"{grid}/{job}"
                    yield Artifact(path, kind, "trained", rule, name, part=part)
                elif kept == "samples":
                    found = Paths(f"published/{owner}").trained(*place)
                    yield Artifact(path, kind, "trained", adopting(owner), name, owner, found)
    for owner in dict.fromkeys(whole.adopted.get(name, {}).values()):
        path, found = paths.taken(name, owner), Paths(f"published/{owner}").table(name)
        yield Artifact(path, "table", "trained", adopting(owner), name, owner, found)


def _tables(experiment: Experiment, whole: Shown, paths: Paths) -> Iterator[Artifact]:
    name = experiment.name
    for pattern in experiment.tables.values():
        for grid in whole.config[name] if "{grid}" in pattern else [""]:
            table, owner = pattern.format(grid=grid), whole.owner(name, grid)
            rule = adopting(owner) if owner else experiment.makes_tables
            found = Paths(f"published/{owner}").table(table) if owner else ""
            part = "" if owner else grid
            yield Artifact(paths.table(table), "table", "analysed", rule, name, owner, found, part)


def _apart(experiments: Iterable[Experiment], whole: Shown, paths: Paths) -> Iterator[Artifact]:
    """The tables of profiles with a page of their own."""
    for owner, settings in whole.apart.items():
        beside, published = replace(paths, beside=owner), Paths(f"published/{owner}")
        for experiment in (own for own in experiments if own.name in settings):
            for table in experiment.of_config(experiment.tables.values(), settings):
                found, rule = published.table(table), adopting(owner)
                yield Artifact(
                    beside.table(table), "table", "analysed", rule, experiment.name, owner, found
                )


def _of_experiment(experiment: Experiment, whole: Shown, paths: Paths) -> Iterator[Artifact]:
    name, page_rule = experiment.name, experiment.makes_page
    yield from _of_training(experiment, whole, paths)
    yield from _tables(experiment, whole, paths)
    if experiment.metrics:
        yield Artifact(paths.metrics(name), "metrics", "analysed", experiment.makes_tables, name)
    if experiment.page:
        for stem in experiment.stems(whole.view(experiment, paths)[0]):
            for path in paths.figure(stem):
                yield Artifact(path, "figure", "reported", page_rule, name)
        yield Artifact(paths.notebook(name), "page", "reported", page_rule, name)
        yield Artifact(paths.page(name), "page", "reported", "render", name, part=name)


def _of_report(paths: Paths, *, weights: bool) -> Iterator[Artifact]:
    if weights:
        yield Artifact(paths.listing(), "weights", "trained", "list_weights")
    told = paths.findings(), paths.macros()
    for path in (paths.ledger(), paths.verdicts(), *told, paths.page("claims")):
        yield Artifact(path, "page", "reported", "claims")
    for page in ("glossary", "explore"):
        yield Artifact(paths.page(page), "page", "reported", "reading")
    yield Artifact(paths.page("pipeline"), "page", "reported", "about")
    yield Artifact(paths.index(), "page", "reported", "index")


def artifacts(
    config: Config, experiments: Iterable[Experiment], datasets: Mapping[str, Any]
) -> list[Artifact]:
    """Every file of a configuration, with what it shows of others; ``datasets`` is the registry.
    Raises BadInput if two experiments claim one file, or one lies outside the profile's folders; or
    what is shown was not published.
    """
    paths, experiments = Paths(config["root"]), [*experiments]
    whole = shown(config, experiments)
    of_experiments: list[Artifact] = []
    for experiment in experiments:
        if experiment.runs_in(whole.config):
            of_experiments += _of_experiment(experiment, whole, paths)
    of_experiments += _apart(experiments, whole, paths)
    weights = any(artifact.kind == "weights" for artifact in of_experiments)
    found = [*_of_data(config, datasets, paths), *_of_report(paths, weights=weights)]
    found += of_experiments
    first: dict[str, Artifact] = {}
    below = paths.at("data/"), paths.at("reports/")
    for artifact in found:
        path = normpath(artifact.path)
        if not path.startswith(below):
            raise BadInput(f"{artifact.maker} claims {path}; allowed: below {' or '.join(below)}")
        other = first.setdefault(path, artifact)
        if other is not artifact:
            raise BadInput(f"{artifact.maker} and {other.maker} both claim {path}")
    return found


@dataclass(frozen=True)
class TrainingJob:
    """A job that trains.

    Attributes:
        rule: Snakemake's name of it.
        weights: the file of its weights; empty if it keeps none.
        cells: that it trains.
    """

    rule: str
    weights: str
    cells: list[Cell]


def to_train(
    config: Config, running: Iterable[Experiment], missing: Set[str]
) -> Iterator[TrainingJob]:
    """The jobs of the experiments ``running`` of which a file is ``missing``."""
    paths = Paths(config["root"])
    for experiment in running:
        if (training := experiment.training) is None:
            continue
        for grid, jobs in training.jobs(config).items():
            for job, cells in jobs.items():
                files = {
                    kept: paths.trained(kept, experiment.name, grid, job)
                    for kept in ("results", *training.keeps)
                }
                if not missing.isdisjoint(files.values()):
                    yield TrainingJob(experiment.trains, files.get("weights", ""), cells)


FLAGS = {"--", "-n", "--dry-run", "-F", "--forceall", "-k", "--keep-going", "-p", "-t", "--touch"}
OF_ONE_VALUE = {"-c", "--cores", "-j", "--jobs", "-s", "--snakefile", "--report", "--profile"}


def asked_for(words: Iterable[str]) -> Iterator[str]:
    """The files and rules that a command line of Snakemake's asks for; after an option that may
    take several values they cannot be told from these, and are left out.
    """
    value, target = False, True
    for word in words:
        if word.startswith("-") and not value:
            value = word in OF_ONE_VALUE
            target = value or word in FLAGS
            continue
        if target and not value:
            yield word
        value = False


def check_asked(words: Iterable[str], made: Iterable[str]) -> None:
    """Raise BadInput, with the nearest that is, unless the files and rules that a command line asks
    for are ``made``.
    """
    known = set(made)
    for target in asked_for(words):
        if target not in known and normpath(target) not in known:
            near = get_close_matches(target, known, 1, cutoff=0)
            raise BadInput(f"there is no target {target}; did you mean {near[0]}?")
