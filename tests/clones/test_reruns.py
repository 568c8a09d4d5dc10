"""A change reruns exactly the jobs that depend on it; taking it back reruns nothing."""

import pytest

from bnblind.pipeline.artifacts import artifacts
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from bnblind.review.machine import jobs_in
from tests.helpers.clones import PAGES, Clone, copy_of, rendered

JUDGED = {"claims": 1, "index": 1}
"""What reads every table of results, and what reads that."""
SHOWN = {"index": 1}
"""What shows an executed notebook."""
ALL_READ = {"render": len(PAGES), "reading": 1}
"""The pages of all notebooks, and those to read along."""
ABOUT = {"about": 1}
"""The page that shows the whole configuration."""
SWEPT = {
    **{"train_rates": 1, "collect_rates": 1},
    **{"train_causes": 2, "collect_causes": 1, "causes_page": 1},
    **{"train_remedies": 1, "collect_remedies": 1, "remedies_page": 1},
    **{"train_purity": 1, "collect_purity": 1, "purity_page": 1},
}
ONE_GRID = {
    **{"train_classification": 2, "list_weights": 1, "collect_classification": 1},
    **{"classification_page": 1, "derivatives": 1, "derivatives_page": 1},
    **{"features": 1, "features_page": 1},
    **SWEPT,
    **JUDGED,
}
TRAINING = {**ONE_GRID, "train_classification": 5, "derivatives": 2}
FLOWS = {"train_flows": 3, "collect_flows": 1, "flows_page": 1}
GANS = {"train_gan": 1, "collect_gan": 1, "gan_page": 1}
ADOPTED = {"adopt_practice": 1, "collect_federated": 1, "federated_page": 1}
DATA = {
    **{"export_data": 1, "prepare_data": 1, "contact_sheet": 1},
    **TRAINING,
    **FLOWS,
    **GANS,
}
TOY = {"linear_signal": 1, "linear_signal_page": 1}
THEOREMS = {"theorems": 1, "theorems_page": 1}
EVERYTHING = {**DATA, **TOY, **THEOREMS, **ADOPTED, **ABOUT, "reading": 1}
CHANGES = {
    "the optimizer's momentum": (
        "config/config.yaml",
        "momentum: 0.9",
        "momentum: 0.8",
        {**ONE_GRID, **ABOUT},
    ),
    "the theorem check's seeds": (
        "config/config.yaml",
        "eps: [0.0, 1.0e-5]\n  seeds: [0]",
        "eps: [0.0, 1.0e-5]\n  seeds: [1]",
        {**THEOREMS, **JUDGED, **ABOUT},
    ),
    "numerics": ("config/config.yaml", "numerics: x86-64-v3", "numerics: fast", EVERYTHING),
    "what is measured of the derivatives": (
        "config/config.yaml",
        "digits-head: { batchings: [label, random], batch_size: 32,",
        "digits-head: { batchings: [label, random], batch_size: 16,",
        {"derivatives": 1, "derivatives_page": 1, **JUDGED, **ABOUT},
    ),
    "which features are drawn": (
        "config/config.yaml",
        "samples: 40",
        "samples: 50",
        {"features": 1, "features_page": 1, **JUDGED, **ABOUT},
    ),
    "the toy task's step size": (
        "config/config.yaml",
        "lr: 0.1",
        "lr: 0.2",
        {**TOY, **JUDGED, **ABOUT},
    ),
    "the split's code": (
        "src/bnblind/terms.py",
        '"""The Taylor terms of',
        '"""The terms of',
        {"derivatives": 2, "derivatives_page": 1, **THEOREMS, **JUDGED},
    ),
    "a figure's code": (
        "src/bnblind/figures/theorems.py",
        "ms=4.5",
        "ms=4.6",
        {"theorems_page": 1, **SHOWN},
    ),
    "the training loop": (
        "src/bnblind/experiments/networks/training.py",
        "return self.data.train\n",
        "return (self.data.train)\n",
        {**TRAINING, **GANS},  # whose distance is that of a trained classifier's features
    ),
    "the flows' training": (
        "src/bnblind/experiments/flows/training.py",
        "self.cell, self.parts = cell",
        "self.cell, self.parts = (cell)",
        {**FLOWS, "list_weights": 1, **JUDGED},
    ),
    "a norm of one grid": (
        "src/bnblind/norms/bn_detached.py",
        "mean.detach(), scale.detach()",
        "mean.detach(), (scale.detach())",
        {
            **{"train_classification": 1, "list_weights": 1, "collect_classification": 1},
            **{"derivatives": 1, "claims": 1},
            **TOY,
            **THEOREMS,
            **PAGES,
            "index": 1,
        },
    ),
    "another experiment's declaration": (
        "src/bnblind/pipeline/declarations/purity.py",
        "between random and label-pure.",
        "from random to label-pure.",
        {"purity_page": 1, **SHOWN},
    ),
    "the flows' learning rate": (
        "config/config.yaml",
        "lr: 0.001",
        "lr: 0.002",
        {
            **FLOWS,
            "list_weights": 1,
            **JUDGED,
            **ABOUT,
        },
    ),
    "a notebook": (
        "notebooks/classification.ipynb",
        "# Classification",
        "# The classification",
        {"classification_page": 1, **SHOWN},
    ),
    "the pages' style": (
        "src/bnblind/pipeline/formats/templates/style.css",
        "font-size: 1.7rem",
        "font-size: 1.8rem",
        {**ALL_READ, "about": 1, **JUDGED},
    ),
    "the glossary": (
        "docs/glossary.md",
        "# Glossary\n",
        "# The glossary\n",
        {**ALL_READ, **JUDGED},
    ),
    "a claim's tolerance": ("config/claims.yaml", "at_most: 0.999", "at_most: 0.998", JUDGED),
    "a data set's registered licence": (
        "config/datasets.yaml",
        "licence: CC BY 4.0",
        "licence: CC0",
        {rule: jobs for rule, jobs in DATA.items() if rule != "export_data"},
    ),
}


@pytest.fixture(scope="module")
def changed(first: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy that each test leaves as it was."""
    return copy_of(first, tmp_path_factory.mktemp("reruns") / "copy")


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_reruns_what_depends_on_it(changed: Clone, change: str) -> None:
    file, old, new, expected = CHANGES[change]
    changed.edit(file, old, new)
    try:
        assert changed.planned() == rendered(expected)
    finally:
        changed.edit(file, new, old)


def test_changes_that_were_taken_back_rerun_nothing(changed: Clone) -> None:
    for file, old, new, _ in CHANGES.values():
        changed.edit(file, old, new)
    for file, old, new, _ in reversed(CHANGES.values()):
        changed.edit(file, new, old)
    assert changed.planned() == {}


def test_every_job_leaves_a_log_of_what_it_used_under_its_own_name(finished: Clone) -> None:
    """By which records, receipts and rules' resources find it."""
    profile = read_yaml(finished.path / "config/config.yaml")
    made = artifacts(profile, experiments().values(), datasets())
    assert {artifact.job for artifact in made} == {*jobs_in(finished.path / "logs")}


def test_a_deleted_output_is_made_again(finished: Clone) -> None:
    figure = finished.path / "reports/figures/theorems/leak.svg"
    content = figure.read_bytes()
    figure.unlink()
    assert "theorems_page" in finished.planned()
    finished.run(
        "snakemake", "--cores", "2", "--quiet", "all", "--", str(figure.relative_to(finished.path))
    )
    assert figure.read_bytes() == content
