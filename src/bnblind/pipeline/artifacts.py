"""Every file that a configuration makes: where it lies, what it is, and what makes it.

Each path is written here once. Rules ask with wildcards in braces for values, all others with
values.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from os.path import normpath
from typing import TYPE_CHECKING, Any

from bnblind.errors import BadInput
from bnblind.experiments.cells import by_job

if TYPE_CHECKING:
    from bnblind.pipeline.declaration import Experiment

FIGURE_FORMATS = ("svg", "pdf", "png", "csv")

STAGES = ("prepared", "trained", "analysed", "reported")
"""Raw and prepared data; what runs leave; tables of results; figures and pages."""


@dataclass(frozen=True)
class Paths:
    """Where things lie, below the profile's ``root``."""

    root: str

    def at(self, path: str) -> str:
        return path if self.root == "." else f"{self.root}/{path}"

    def published(self, profile: str, path: str) -> str:
        """What another profile has published of a file of this one."""
        own = path if self.root == "." else path.removeprefix(f"{self.root}/")
        return f"published/{profile}/{own}"

    def raw(self, dataset: str, file: str) -> str:
        return self.at(f"data/raw/{dataset}/{file}")

    def prepared(self, dataset: str) -> str:
        return self.at(f"data/prepared/{dataset}.safetensors")

    def manifest(self, dataset: str) -> str:
        return self.at(f"data/prepared/{dataset}.json")

    def trained(self, kept: str, experiment: str, grid: str, job: str) -> str:
        """What a training job keeps: ``weights``, ``results`` or ``samples``."""
        folder, ending = {
            "weights": ("models", ".safetensors"),
            "results": ("results", ".parquet"),
            "samples": ("results", "-samples.safetensors"),
        }[kept]
        return self.at(f"data/{folder}/{experiment}/{grid}/{job}{ending}")

    def listing(self) -> str:
        """Of all files of weights."""
        return self.at("data/models/weights.json")

    def results(self) -> str:
        """The folder of the tables."""
        return self.at("data/results")

    def table(self, name: str) -> str:
        return f"{self.results()}/{name}.parquet"

    def metrics(self, name: str) -> str:
        """A table's final figures, for ``dvc metrics``."""
        return f"{self.results()}/{name}.json"

    def figures(self) -> str:
        """The folder of the figures."""
        return self.at("reports/figures")

    def figure(self, stem: str) -> list[str]:
        """A figure in each of its formats, and the numbers that it draws."""
        return [f"{self.figures()}/{stem}.{suffix}" for suffix in FIGURE_FORMATS]

    def page(self, name: str) -> str:
        return self.at(f"reports/pages/{name}.html")

    def notebook(self, name: str) -> str:
        """The executed notebook behind a page."""
        return self.at(f"reports/pages/{name}.ipynb")

    def ledger(self) -> str:
        return self.at("reports/claims.json")

    def verdicts(self) -> str:
        """The ledger for ``dvc metrics``."""
        return self.at("reports/verdicts.json")

    def index(self) -> str:
        """The report's first page."""
        return self.at("reports/index.html")

    def receipt(self) -> str:
        """What `bnblind receipt` writes of a run, which is no part of it."""
        return self.at("reports/receipt.json")

    def log(self, rule: str, *wildcards: str) -> str:
        return self.at(f"logs/{'/'.join([rule, *wildcards])}.log")


@dataclass(frozen=True)
class Artifact:
    """A file that a rule makes.

    Attributes:
        path: relative to the project's folder.
        kind: ``data``, ``weights``, ``table``, ``metrics``, ``samples``, ``figure`` or ``page``.
        stage: one of ``STAGES``.
        rule: Snakemake's name of what makes it.
        experiment: that it belongs to; empty if to several.
    """

    path: str
    kind: str
    stage: str
    rule: str
    experiment: str = ""

    @property
    def maker(self) -> str:
        return f"rule {self.rule} of experiment {self.experiment}".removesuffix(" of experiment ")


def _of_data(
    config: Mapping[str, Any], datasets: Mapping[str, Any], paths: Paths
) -> Iterator[Artifact]:
    for name in config["data"]:
        for file in datasets[name]["files"]:
            yield Artifact(paths.raw(name, file), "data", "prepared", "export_data")
        for path in (paths.prepared(name), paths.manifest(name)):
            yield Artifact(path, "data", "prepared", "prepare_data")
        for path in paths.figure(f"data/{name}"):
            yield Artifact(path, "figure", "reported", "contact_sheet")


def _of_training(
    experiment: "Experiment", config: Mapping[str, Any], paths: Paths
) -> Iterator[Artifact]:
    training, adopted = experiment.training, experiment.adopted_in(config)
    kinds = {"weights": "weights", "results": "table", "samples": "samples"}
    if training is None:
        return
    rule = experiment.adopts if adopted else experiment.trains
    for grid, cells in training.cells(experiment.completed(config)).items():
        for job in by_job(cells):
            for kept in (*training.keeps,) if adopted else ("results", *training.keeps):
                path = paths.trained(kept, experiment.name, grid, job)
                yield Artifact(path, kinds[kept], "trained", rule, experiment.name)


def _of_experiment(
    experiment: "Experiment", config: Mapping[str, Any], paths: Paths
) -> Iterator[Artifact]:
    name = experiment.name
    yield from _of_training(experiment, config, paths)
    adopted, page_rule = experiment.adopted_in(config), experiment.makes_page
    rule = experiment.adopts if adopted else experiment.makes_tables
    for table in experiment.of_config(experiment.tables.values(), config):
        yield Artifact(paths.table(table), "table", "analysed", rule, name)
    if experiment.metrics:
        yield Artifact(paths.metrics(name), "metrics", "analysed", rule, name)
    if experiment.page:
        for stem in experiment.stems(config):
            for path in paths.figure(stem):
                yield Artifact(path, "figure", "reported", page_rule, name)
        for path in (paths.page(name), paths.notebook(name)):
            yield Artifact(path, "page", "reported", page_rule, name)


def _of_report(paths: Paths, *, weights: bool) -> Iterator[Artifact]:
    if weights:
        yield Artifact(paths.listing(), "weights", "trained", "list_weights")
    for path in (paths.ledger(), paths.verdicts(), paths.page("claims")):
        yield Artifact(path, "page", "reported", "claims")
    yield Artifact(paths.page("pipeline"), "page", "reported", "about")
    yield Artifact(paths.index(), "page", "reported", "index")


def artifacts(
    config: Mapping[str, Any], experiments: Iterable["Experiment"], datasets: Mapping[str, Any]
) -> list[Artifact]:
    """Every file of a configuration; ``datasets`` is the registry.

    Raises:
        BadInput: two experiments claim one file, or one lies outside the profile's folders.
    """
    paths = Paths(config["root"])
    of_experiments: list[Artifact] = []
    for experiment in experiments:
        if experiment.shown_in(config):
            of_experiments += _of_experiment(experiment, config, paths)
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
    """Whether the files and rules that a command line asks for are ``made``.

    Raises:
        BadInput: one is not; with the nearest that is.
    """
    known = set(made)
    for target in asked_for(words):
        if target not in known and normpath(target) not in known:
            near = get_close_matches(target, known, 1, cutoff=0)
            raise BadInput(f"there is no target {target}; did you mean {near[0]}?")
