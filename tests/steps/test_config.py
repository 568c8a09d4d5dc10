"""The configuration: complete profiles, and one clear error for every mistake."""

from pathlib import Path
from typing import Any

import pytest

from bnblind.errors import BadInput
from bnblind.experiments.batching import BATCHINGS
from bnblind.experiments.datasets import SPLITTINGS
from bnblind.experiments.flows.coupling_norms import COUPLING_NORMS
from bnblind.experiments.flows.realnvp import COUPLINGS
from bnblind.experiments.gans.cell import FEEDS
from bnblind.experiments.networks.augmentation import AUGMENTATIONS
from bnblind.experiments.networks.losses import TRAINING_LOSSES
from bnblind.experiments.networks.models import INITS, MODELS
from bnblind.experiments.optimizers import OPTIMIZERS
from bnblind.experiments.preparation import READERS
from bnblind.experiments.synthetic import SHARED_LOSSES
from bnblind.experiments.theorem_check import POINTS
from bnblind.norms import norm_names
from bnblind.pipeline.configuration import check, schema
from bnblind.pipeline.configuration.claims_file import read_claims
from bnblind.pipeline.configuration.schema import REGISTRIES, read_yaml, registered_names
from bnblind.pipeline.discovery import experiments, judged_tables
from tests.conftest import ROOT

PROFILES = [
    path for path in sorted((ROOT / "config").glob("*.yaml")) if "profile" in read_yaml(path)
]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def check_config(config: dict[str, Any]) -> None:
    check.check_config(config, experiments().values())


def trained(name: str, config: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Settings of the cells of each job, (grid, job), of an experiment that trains."""
    training = experiments()[name].training
    assert training is not None
    jobs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for grid, cells in training.cells(config).items():
        for cell in cells:
            jobs.setdefault((grid, cell.job), []).append(cell.settings())
    return jobs


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_complete_and_names_where_it_writes(path: Path) -> None:
    profile = read_yaml(path)
    check_config(profile)
    quick = path.name == "config.yaml"
    assert profile["profile"] == ("quick" if quick else path.stem)
    assert profile["root"] == ("." if quick else f"runs/{path.stem}")


NAMES = {
    **{"norm": norm_names(), "model": MODELS, "batching": BATCHINGS, "optimizer": OPTIMIZERS},
    **{
        "feed": FEEDS,
        "split": SPLITTINGS,
        "init": INITS,
        "loss": TRAINING_LOSSES,
        "augmentation": AUGMENTATIONS,
        "shared_loss": SHARED_LOSSES,
        "point": POINTS,
    },
    **{"format": READERS, "coupling": COUPLINGS, "coupling_norm": COUPLING_NORMS},
}


@pytest.mark.parametrize("kind", ["norm", *REGISTRIES])
def test_names_read_from_the_source_are_those_of_the_running_code(kind: str) -> None:
    assert registered_names(kind) == list(NAMES[kind])


GRID = "classification/digits-head-judged"
FLOW = "flows/digits-mlp-judged"
MISTAKES = {
    "unknown key at the top": ("colour", "red", "unknown key 'colour'; allowed: profile, root"),
    "unknown key in a grid": (f"{GRID}/epoch", 3, "judged: unknown key 'epoch'; allowed:"),
    "unknown norm": (f"{GRID}/norms", ["bm"], "norms[0]: found 'bm'; allowed: bn, "),
    "unknown model": (f"{GRID}/model", "vgg", "model: found 'vgg'; allowed: head"),
    "unknown data set": (f"{GRID}/dataset", "cats", "dataset: found 'cats'; allowed: digits"),
    "unknown batching": (f"{GRID}/batchings", ["x"], "found 'x'; allowed: random, label"),
    "a purity above 1": (f"{GRID}/batchings", ["purity-1.1"], "'purity-1.1'; allowed: random"),
    "a purity spelt another way": (f"{GRID}/batchings", ["purity-0.50"], "purity-P, P such as"),
    "a purity below that of random batches": (
        f"{GRID}/batchings",
        ["label", "purity-0.09"],
        "batchings: found ['purity-0.09']; allowed purities: 0.1 (1 / classes) to 1",
    ),
    "a number of foreign samples that no batch has": (
        f"{GRID}/batchings",
        ["label", "foreign-16"],
        "batchings: found ['foreign-16']; allowed: 1 to 15 foreign samples (batch_size - 1)",
    ),
    "no foreign sample": (f"{GRID}/batchings", ["foreign-0"], "foreign-K, K such as 1"),
    "unknown init": (f"{GRID}/init", "xavier", "init: found 'xavier'; allowed: torch, he"),
    "unknown optimizer": (f"{GRID}/optimizer", {"name": "adm"}, "found 'adm'; allowed: sgd"),
    "unknown optimizer setting": (
        f"{GRID}/optimizer",
        {"name": "sgd", "momentun": 0.9},
        "unknown key 'momentun'; allowed: name, momentum, weight_decay",
    ),
    "a setting of another optimizer": (
        f"{GRID}/optimizer",
        {"name": "sgd", "betas": [0.9, 0.999]},
        "optimizer: found 'betas'; allowed: name, momentum, weight_decay",
    ),
    "unknown coupling": (f"{FLOW}/coupling", "cnn", "coupling: found 'cnn'; allowed: mlp, conv"),
    "unknown coupling norm": (f"{FLOW}/coupling_norms", ["ln"], "found 'ln'; allowed: none, bn"),
    "a pair of one class": (f"{FLOW}/pairs", [[3, 3]], "pairs: found [3, 3]; allowed: two of the"),
    "a pair of unknown classes": (f"{FLOW}/pairs", [[1, 10]], "[1, 10]; allowed: two of the"),
    "a rate without an end": (
        f"{FLOW}/lr",
        float("inf"),
        "flows.digits-mlp-judged.lr: found inf (float);",
    ),
    "unknown numerics": (
        "numerics",
        "exact",
        "numerics: found 'exact'; allowed: x86-64-v2, x86-64-v3, fast",
    ),
    "a text for a number": (f"{GRID}/epochs", "12", "found '12' (str); allowed: integer"),
    "a YAML number without a dot": (f"{GRID}/learning_rates", ["1e-3"], "allowed: finite number"),
    "a single value for a list": (f"{GRID}/seeds", 10, "found 10 (int); allowed: array"),
    "a batch of one": (f"{GRID}/batch_size", 1, "1 is less than the minimum of 2"),
    "tf32 on a processor": (f"{GRID}/precision", "tf32", "precision: found tf32 on a processor"),
    "a snapshot after the end": (f"{GRID}/snapshots", [13], "snapshots: found [13]; allowed: 1 to"),
    "a size given twice": ("theorems/dims", [8, 8], "[8, 8] has non-unique elements"),
    "a rate that is no number": (
        f"{GRID}/learning_rates",
        [float("nan")],
        "found nan (float); allowed: finite",
    ),
    "a part that is no number": ("data/digits/test", float("nan"), "data.digits.test: found nan"),
    "no training data": (
        "data/digits",
        {"seed": 0, "validation": 0.5, "test": 0.5},
        "data.digits: validation and test leave no training data",
    ),
    "derivatives of a grid that is not there": (
        "derivatives/digits",
        {"batchings": ["label"], "batch_size": 8, "batches": 1},
        "derivatives.digits: no such grid; allowed: digits-head-judged",
    ),
    "derivatives of a grid without BN": (
        f"{GRID}/norms",
        ["none", "ln"],
        "derivatives.digits-head-judged: found norms ['none', 'ln']",
    ),
    "derivatives of random batches only": (
        "derivatives/digits-head-judged/batchings",
        ["random"],
        "derivatives.digits-head-judged.batchings: found ['random']; allowed: with label",
    ),
    "features of no grid": (
        "features/digits",
        {"tsne": {"norms": ["bn"], "seed": 10, "samples": 100}},
        "features.digits: no such grid; allowed: digits-head-judged",
    ),
    "a norm that its grid does not train": (
        "features/digits-head-judged/tsne/norms",
        ["in"],
        "features.digits-head-judged.tsne.norms: found ['in']; allowed: none, bn, ln",
    ),
    "a seed that its grid does not train": (
        "features/digits-head-judged/tsne/seed",
        0,
        "features.digits-head-judged.tsne.seed: found 0; allowed: [50, 51, 52, 53, 54, 55, ",
    ),
    "too few samples for t-SNE": ("features/digits-head-judged/tsne/samples", 30, "minimum of 31"),
    "a toy task of one cycle": ("linear_signal/steps", 10, "allowed: at least 2 x classes, 20"),
    "a path outside the project": ("root", "../elsewhere", "found '../elsewhere'; allowed: texts"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_the_key_what_was_found_and_what_is_allowed(
    quick: dict[str, Any], mistake: str
) -> None:
    place, value, message = MISTAKES[mistake]
    *parents, key = place.split("/")
    target = quick
    for parent in parents:
        target = target[parent]
    target[key] = value
    with pytest.raises(BadInput) as caught:
        check_config(quick)
    assert message in str(caught.value)


def test_purities_are_batchings(quick: dict[str, Any]) -> None:
    words = ["purity-0.1", "purity-0.95", "purity-1"]
    quick["classification"]["digits-head-judged"]["batchings"] += words
    quick["derivatives"]["digits-head-judged"]["batchings"] += words
    check_config(quick)


def test_a_missing_key_is_named(quick: dict[str, Any]) -> None:
    del quick["classification"]["digits-head-judged"]["seeds"]
    with pytest.raises(BadInput, match="'seeds' is a required property"):
        check_config(quick)


def test_a_grid_cannot_use_data_that_the_profile_does_not_prepare(quick: dict[str, Any]) -> None:
    quick["data"] = {"mnist": {"seed": 0, "validation": 0.1}}
    said = "judged.dataset: found 'digits', which `data` does not prepare; allowed: mnist"
    with pytest.raises(BadInput, match=said):
        check_config(quick)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("mnist", {"test": 0.2}, "data.mnist.test: found a share; allowed: none, it has 10000"),
        ("digits", {}, "data.digits: test is missing; it has no samples for tests of its own"),
    ],
)
def test_a_test_part_is_drawn_exactly_where_there_is_none(
    quick: dict[str, Any], name: str, split: dict[str, Any], message: str
) -> None:
    quick["data"][name] = {"seed": 0, "validation": 0.1, **split}
    with pytest.raises(BadInput, match=message):
        check_config(quick)


def test_data_cannot_be_left_out(quick: dict[str, Any]) -> None:
    quick["data"] = {}
    with pytest.raises(BadInput, match=r"data: \{\} should be non-empty"):
        check_config(quick)


def test_a_cell_depends_on_its_own_settings_only(quick: dict[str, Any]) -> None:
    """Adding a norm to a grid leaves the other cells' settings, and so their results, alone."""
    before = trained("classification", quick)
    quick["classification"]["digits-head-judged"]["norms"].append("in")
    after = trained("classification", quick)
    (added,) = after.keys() - before.keys()
    assert added == ("digits-head-judged", "in")
    assert [cell["batching"] for cell in after[added]] == ["random", "label"]
    assert before.items() <= after.items()


def test_a_flow_cells_settings_are_all_that_its_step_takes(quick: dict[str, Any]) -> None:
    """With the grey values of its data set; and a further norm leaves the others' alone."""
    before = {
        job: of for job, of in trained("flows", quick).items() if job[0] == "digits-mlp-judged"
    }
    assert len(before) == 2  # norms
    flow = experiments()["flows"].training
    assert flow is not None
    for settings in before.values():
        cells = [flow.cell.from_settings(own) for own in settings]
        assert [cell.settings() for cell in cells] == settings
        assert [(cell.pair, cell.batching) for cell in cells] == [
            (pair, batching) for pair in ((9, 8), (1, 0)) for batching in ("random", "label")
        ]
    quick["flows"]["digits-mlp-judged"]["norms"].append("gn")
    after = {
        job: of for job, of in trained("flows", quick).items() if job[0] == "digits-mlp-judged"
    }
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    ("table", "grid", "changes", "message"),
    [
        (
            "classification",
            "digits-head-judged",
            {"batch_size": 8, "batchings": ["label"], "norms": ["bn"]},
            "classification.twin: found digits, head, bn, label, 0.01, which "
            "classification.digits-head-judged trains as well; allowed: other seeds, all else the "
            "same",
        ),
        (
            "flows",
            "digits-mlp-judged",
            {"width": 8, "norms": ["ln"], "pairs": [[1, 0]], "batchings": ["random"]},
            "flows.twin: found digits, 1v0, mlp, ln, scalar, random, which flows.digits-mlp-judged",
        ),
    ],
)
def test_two_grids_that_the_results_could_not_tell_apart_are_refused(
    quick: dict[str, Any], table: str, grid: str, changes: dict[str, Any], message: str
) -> None:
    """Whatever their other settings and seeds are; tables of results name no grid."""
    quick[table]["twin"] = quick[table][grid] | {"seeds": [77]} | changes
    with pytest.raises(BadInput) as caught:
        check_config(quick)
    assert message in str(caught.value)
    assert str(caught.value).count("twin") == 1
    quick[table]["twin"]["norms"] = ["in"]
    check_config(quick)


def test_two_grids_may_share_a_cell_of_other_seeds_and_nothing_else(quick: dict[str, Any]) -> None:
    """Their table has no column that would tell them apart."""
    purity = quick["purity"]["digits-head-judged"]
    quick["purity"]["digits-head-shuffled"] = purity | {"seeds": [91, 92]}
    check_config(quick)
    quick["purity"]["digits-head-shuffled"] = purity | {"seeds": [91, purity["seeds"][0]]}
    with pytest.raises(BadInput, match=r"purity.digits-head-shuffled: found digits, head, none, "):
        check_config(quick)
    quick["purity"]["digits-head-shuffled"] = purity | {"seeds": [91], "batches": 3}
    with pytest.raises(BadInput, match="trains as well; allowed: other seeds, all else the same"):
        check_config(quick)


def claims_on(tables: list[str]) -> str:
    """A claims' file with a row that reads each of the tables."""
    row = "{{ scope: s, table: {}, where: {{}}, largest: x, at_most: 1, figure: f }}"
    rows = "".join(f"    x{i}: {row.format(table)}\n" for i, table in enumerate(tables))
    return f"C1:\n  claim: a\n  required: true\n  rows:\n{rows}"


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_claims_may_name_every_table_of_a_profile_and_no_other(path: Path, tmp_path: Path) -> None:
    profile, declared = read_yaml(path), experiments().values()
    kinds, claims = judged_tables(declared), tmp_path / "claims.yaml"
    judged = [t for e in declared for t in e.of_config(e.tables.values(), profile)]
    assert {"classification", "gan"} & {*judged}
    claims.write_text(claims_on(judged))
    read_claims(kinds, claims)
    wrong = [name for table in judged for name in (table[:-1], f"x{table}", f"{table}/x")]
    claims.write_text(claims_on(wrong))
    with pytest.raises(BadInput) as caught:
        read_claims(kinds, claims)
    for i, table in enumerate(wrong):
        assert f"C1.rows.x{i}.table: found {table!r}; allowed: theorems/pass" in str(caught.value)


def test_the_projects_claims_are_judged_by_tables_that_a_profile_has() -> None:
    """A misspelt grid would otherwise be a row that is never run."""
    declared = experiments().values()
    profiles = [read_yaml(path) for path in PROFILES]
    tables = {t for p in profiles for e in declared for t in e.of_config(e.tables.values(), p)}
    claims = read_claims(judged_tables(declared)).values()
    assert {row["table"] for claim in claims for row in claim["rows"].values()} <= tables


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"profile: quick\nroot: [\n", "line 3, column 1"),
        (b"root: \xff\n", "invalid start byte"),
    ],
)
def test_a_file_that_is_no_yaml_is_named_with_the_place(
    content: bytes, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=f"{path} is not valid YAML: .*{found}"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("classes: 10", "clases: 10", "digits: unknown key 'clases'; allowed: title, version"),
        ("  levels: 17\n", "", "digits: 'levels' is a required property"),
        ("classes: 10", "classes: ten", "digits.classes: found 'ten' (str); allowed: integer"),
    ],
)
def test_a_mistake_in_the_registry_of_data_sets_is_named(
    quick: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    message: str,
) -> None:
    wrong = tmp_path / "datasets.yaml"
    wrong.write_text((ROOT / "config/datasets.yaml").read_text().replace(old, new))
    monkeypatch.setattr(schema, "DATASETS", wrong)
    monkeypatch.setattr(check, "DATASETS", wrong)
    with pytest.raises(BadInput) as caught:
        check_config(quick)
    assert message in str(caught.value)


def test_only_the_published_profile_writes_over_its_results(quick: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"root: found '.' with profile 'mine'; allowed"):
        check_config(quick | {"profile": "mine"})
    check_config(quick | {"profile": "mine", "root": "runs/mine"})
