"""What somebody adds: an experiment with its own files and one declaration, and each thing that
docs/extending.md has a recipe for.
"""

import pandas as pd
import pytest
import yaml

from tests.helpers import toy
from tests.helpers.clones import PAGES, Clone, rendered
from tests.helpers.recipes import follow

SHOWN = {"claims": 1, "index": 1, "about": 1}
"""The pages that list what there is: the ledger, the first page, the configuration."""


def add(clone: Clone, files: dict[str, str]) -> None:
    for name, content in files.items():
        assert not (clone.path / name).exists()
        (clone.path / name).write_text(content)


def test_an_experiment_is_its_own_files_and_one_declaration(finished: Clone) -> None:
    before = finished.hashes()
    step = "src/bnblind/pipeline/steps/measure_spread.py"
    add(finished, {step: toy.FILES[step]})
    assert finished.planned() == {}, "a further step is part of no other job"
    add(finished, {name: text for name, text in toy.FILES.items() if name != step})
    config = finished.path / "config/config.yaml"
    config.write_text(config.read_text() + toy.SECTION)
    assert finished.planned() == {
        **{"spread": 1, "spread_page": 1, "render": 3},  # its neighbours lead to it
        **SHOWN,
    }
    assert finished.planned("--snakefile", "workflow/Snakefile") == finished.planned()

    finished.run("snakemake", "--cores", "2", "--quiet", "all")
    after = finished.hashes()
    changed = {name for name, found in before.items() if after[name] != found}
    neighbours = {f"reports/pages/{name}.html" for name in ("linear_signal", "derivatives")}
    assert changed == {"reports/index.html", "reports/pages/pipeline.html", *neighbours}
    figure = [f"reports/figures/spread/distances.{s}" for s in ("svg", "pdf", "png", "csv")]
    pages = ["reports/pages/spread.html", "reports/pages/spread.ipynb"]
    assert set(after) - set(before) == {*figure, *pages, "data/results/spread.parquet"}
    index = (finished.path / "reports/index.html").read_text()
    assert "How far labels lie apart" in index
    assert "Distances grow with the seed." in index
    assert "pages/spread.html" in index

    # A claim may read its table; before, no row could.
    row = "{ scope: s, table: spread, where: {}, largest: distance, at_most: 9, figure: f }"
    claims = finished.path / "config/claims.yaml"
    claims.write_text(
        f"{claims.read_text()}\nC99:\n  claim: c\n  required: false\n  rows: {{ a: {row} }}\n"
    )
    assert finished.planned() == {"claims": 1, "index": 1}

    # The documents list it as soon as they are made again, and say so before.
    documents = ("env", "PYTHONPATH=src", "python", "scripts/documents.py")
    code, printed = finished.attempt(*documents, "--check")
    assert code == 1
    assert "docs/running.md does not say what it should of its experiments" in printed
    finished.run(*documents)
    assert "| How far labels lie apart |" in (finished.path / "docs/running.md").read_text()
    assert "**`spread`**" in (finished.path / "config/README.md").read_text()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("declarations/spread.py", '    title="How far labels lie apart",\n', "", "'title'"),
        (
            "declarations/spread.py",
            'figures={"distances": "distances"}',
            'figures={"distances": "../purity/digits-head-lr0.01"}',
            "reports/figures/purity/digits-head-lr0.01",
        ),
    ],
)
def test_an_experiment_that_does_not_fit_is_refused_by_name(
    workspace: Clone, file: str, old: str, new: str, message: str
) -> None:
    add(workspace, toy.FILES)
    config = workspace.path / "config/config.yaml"
    config.write_text(config.read_text() + toy.SECTION)
    workspace.edit(f"src/bnblind/pipeline/{file}", old, new)
    code, printed = workspace.attempt("snakemake", "-n")
    assert code != 0
    assert "experiment spread" in printed
    assert message in printed
    assert not workspace.outputs()


def test_a_norm_retrains_nothing_but_its_own_networks(finished: Clone) -> None:
    follow(finished, "A norm")
    chosen = rendered({**PAGES, "index": 1})
    assert finished.planned() == chosen, "pages choose colours by the norms' facts"
    finished.edit(
        "config/config.yaml",
        "model: head\n    norms: [bn, ln]",
        "model: head\n    norms: [bn, ln, peak]",
    )
    assert finished.planned() == {
        **{"train_classification": 1, "list_weights": 1, "collect_classification": 1},
        **{"derivatives": 1, "features": 1},
        **rendered(PAGES),
        **SHOWN,
    }
    tests = [f"tests/library/test_{name}.py" for name in ("blocking", "norms", "norm_facts")]
    printed = finished.run(
        "env", "PYTHONPATH=src", "python", "-m", "pytest", "-q", "-k", "peak", *tests
    )
    assert " passed" in printed
    assert "skipped" not in printed


def test_the_recipes_lead_to_the_report(workspace: Clone) -> None:
    """A norm, a network, a batching, a loss and a data set, all in one new grid."""
    for thing in ("norm", "network", "batching", "training loss", "data set"):
        follow(workspace, f"A {thing}")
    path = workspace.path / "config/config.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["data"]["wine"] = {"seed": 0, "validation": 0.15, "test": 0.2}
    new = {"model": "shallow", "norms": ["bn", "peak"], "batchings": ["sorted"], "dataset": "wine"}
    grid = profile["classification"]["digits-head"]
    profile["classification"]["wine-shallow"] = {**grid, **new, "loss": "squared_error"}
    path.write_text(yaml.safe_dump(profile))
    assert workspace.planned()["train_classification"] == 7
    targets = ("reports/pages/classification.html", "reports/figures/data/wine.svg")
    workspace.run("snakemake", "--cores", "2", "--quiet", "all", "--", *targets)

    stem = "reports/figures/classification/wine"
    drawn = pd.read_csv(workspace.path / f"{stem}-accuracies.csv")
    assert set(drawn["norm"]) == {"bn", "peak"}
    assert set(drawn["batching"]) == {"sorted"}
    assert set(drawn["loss"]) == {"squared_error"}
    assert (workspace.path / f"{stem}-curves.svg").is_file()
    page = (workspace.path / "reports/pages/classification.html").read_text()
    assert "shallow on wine, training loss squared error" in page
    assert "peak" in page
    results = pd.read_parquet(workspace.path / "data/results/classification.parquet")
    assert set(results["loss"]) == {"cross_entropy", "squared_error"}
    losses = results[results["metric"] == "train.loss"].groupby("loss")["value"].min()
    assert losses["squared_error"] < 0.5 < losses["cross_entropy"]
