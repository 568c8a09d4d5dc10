"""Every file of a run is known from its configuration alone, and so is the rule that makes it."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from bnblind.errors import BadInput
from bnblind.pipeline.adoption import shown
from bnblind.pipeline.artifacts import STAGES, Artifact, artifacts
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.declaration import Experiment, Page
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.formats.publishing import publish_figure
from bnblind.pipeline.paths import FIGURE_FORMATS, Paths
from tests.conftest import ROOT, RunPython
from tests.steps.planning import Plan

KINDS = {"data", "weights", "table", "metrics", "samples", "figure", "page"}
PROFILES = ["config", "full", "smoke"]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def made_by(profile: dict[str, Any], *more: Experiment) -> list[Artifact]:
    return artifacts(profile, [*experiments().values(), *more], datasets())


@pytest.mark.parametrize("name", PROFILES)
def test_every_file_is_known_once_by_kind_and_stage(name: str) -> None:
    profile = read_yaml(Path(f"config/{name}.yaml"))
    found = made_by(profile)
    assert [path for path, n in Counter(a.path for a in found).items() if n > 1] == []
    assert {artifact.kind for artifact in found} == KINDS
    assert {artifact.stage for artifact in found} == {*STAGES}
    whole = shown(profile, experiments().values()).config
    running = {name for name, experiment in experiments().items() if experiment.runs_in(whole)}
    assert {artifact.experiment for artifact in found} == {"", *running}
    below = "" if profile["root"] == "." else f"{profile['root']}/"
    assert all(
        artifact.path.startswith((f"{below}data/", f"{below}reports/")) for artifact in found
    )


@pytest.mark.parametrize("name", PROFILES)
def test_every_experiments_tables_figures_and_page_are_among_them(name: str) -> None:
    profile = read_yaml(Path(f"config/{name}.yaml"))
    paths = Paths(profile["root"])
    both = shown(profile, experiments().values())
    whole = both.config
    found = [artifact for artifact in made_by(profile) if artifact.stage != "trained"]
    declared = {name: e for name, e in experiments().items() if e.runs_in(whole)}
    # Tables of a profile with a page of its own lie in a folder of their own.
    apart = [paths.at(f"data/results/{e.of_profile}/") for e in declared.values() if e.of_profile]
    found = [artifact for artifact in found if not artifact.path.startswith(tuple(apart))]
    for own, experiment in declared.items():
        of_kind: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for artifact in found:
            if artifact.experiment == own:
                of_kind[artifact.kind].add(artifact.path)
        tables = experiment.of_config(experiment.tables.values(), whole)
        assert of_kind["table"] == {paths.table(table) for table in tables}
        stems = experiment.stems(both.view(experiment, paths)[0])
        figures = {path for stem in stems for path in paths.figure(stem)}
        assert len(figures) == len(stems) * len(FIGURE_FORMATS)
        assert of_kind["figure"] == figures
        assert bool(stems) == bool(experiment.page)
        pages = {paths.page(own), paths.notebook(own)} if experiment.page else set()
        assert of_kind["page"] == pages
        assert len(of_kind["metrics"]) == experiment.metrics


def test_rules_make_these_files_and_no_other(plan: Plan) -> None:
    """Each by the rule that it is said to be made by."""
    planned = {(path, job.rule) for job in plan.jobs for path in job.outputs}
    assert planned == {(a.path, a.rule) for a in made_by(plan.profile)}


def test_a_training_jobs_files_are_those_of_its_cells(published: dict[str, Any]) -> None:
    found = {a.path for a in made_by(published) if a.rule == "train_flows"}
    assert {path for path in found if "/digits-mlp-judged/" in path} == {
        f"data/{place}/flows/digits-mlp-judged/{norm}-scalar{ending}"
        for norm in ("bn", "ln")
        for place, ending in (
            ("models", ".safetensors"),
            ("results", ".parquet"),
            ("results", "-samples.safetensors"),
        )
    }


@pytest.mark.parametrize(
    ("name", "figure", "tables", "said"),
    [
        (
            *("more", "../purity/digits-head-lr0.01", {}),
            "rule more_page of experiment more and rule purity_page of experiment purity both "
            "claim reports/figures/purity/digits-head-lr0.01.svg",
        ),
        (
            *("more", "x", {"table": "purity"}),
            "rule more of experiment more and rule collect_purity of experiment purity both claim "
            "data/results/purity.parquet",
        ),
        (
            *("claims", "x", {}),
            "rule render of experiment claims and rule claims both claim reports/pages/claims.html",
        ),
    ],
)
def test_two_that_claim_one_file_are_refused(
    name: str, figure: str, tables: dict[str, str], said: str, published: dict[str, Any]
) -> None:
    """By their names, and the file's."""
    page = Page(
        figures={"x": figure}, captions={"x": "x"}, sentence="x", drawn=lambda config: [("x", {})]
    )
    more = Experiment(name=name, title="t", order=1, page=page, tables=tables)
    with pytest.raises(BadInput) as caught:
        made_by(published, more)
    assert str(caught.value) == said


def test_a_figure_is_published_in_all_its_formats(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    drawn = pd.DataFrame({"x": [1]})
    publish_figure(plt.figure(), drawn, paths.figures(), "more/x", "A caption.")
    assert {str(path) for path in tmp_path.rglob("*.*")} == {*paths.figure("more/x")}


PLANNING = """
import json, sys
from pathlib import Path
sys.path.insert(0, "src")
exec(sys.stdin.read())
config = schema.read_yaml(Path("config/config.yaml"))
declared = experiments()
check_config(config, declared.values())
read_claims(judged_tables(declared.values()))
found = artifacts(config, declared.values(), schema.datasets())
declared["flows"].training.jobs(config)
whole = shown(config, declared.values()).config
for experiment in declared.values():
    if experiment.page and experiment.runs_in(whole):
        experiment.page_inputs(whole, Paths(".")), experiment.page.parameters(whole)
        import_closure([f"notebooks/{experiment.name}.ipynb"])
import_closure([f"src/{norm_module('bn').replace('.', '/')}.py"])
print(json.dumps([len(found), sorted(sys.modules)]))
"""
"""What planning imports and calls, without Snakemake, which may import what it likes."""


def test_planning_loads_no_numerical_library(run_python: RunPython) -> None:
    files = [Path("workflow/Snakefile"), *Path("workflow/rules").glob("*.smk")]
    text = "\n".join(file.read_text() for file in files)
    imports = re.findall(r"^(?:from|import) bnblind.*$", text, re.MULTILINE)
    assert len(imports) > 5
    run = run_python("-c", PLANNING, stdin="\n".join(imports))
    assert run.returncode == 0, run.stderr
    count, loaded = json.loads(run.stdout)
    assert count > 200
    roots = {name.split(".")[0] for name in loaded}
    assert roots & {"torch", "numpy", "pandas", "scipy", "sklearn", "matplotlib"} == set()
