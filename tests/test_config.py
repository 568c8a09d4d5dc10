"""The configuration: complete profiles, and one clear error for every mistake."""

import ast
import copy
from pathlib import Path
from typing import Any

import pytest

from bnblind.errors import BadInput
from bnblind.experiments.batching import BATCHINGS
from bnblind.experiments.models import MODELS
from bnblind.experiments.optimizers import OPTIMIZERS
from bnblind.experiments.preparation import READERS
from bnblind.experiments.synthetic import LOSSES
from bnblind.experiments.theorems import POINTS
from bnblind.norms import NORMS
from bnblind.pipeline.config import cell_settings, cells, check_config, read_yaml, registered_names
from tests.conftest import ROOT

PROFILES = [
    path for path in sorted((ROOT / "config").glob("*.yaml")) if "profile" in read_yaml(path)
]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def quick() -> dict[str, Any]:
    return copy.deepcopy(read_yaml(Path("config/config.yaml")))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_complete_and_names_where_it_writes(path: Path) -> None:
    profile = read_yaml(path)
    check_config(profile)
    quick = path.name == "config.yaml"
    assert profile["profile"] == ("quick" if quick else path.stem)
    assert profile["root"] == ("." if quick else f"runs/{path.stem}")


@pytest.mark.parametrize(
    ("kind", "registry"),
    [
        ("norm", NORMS),
        ("model", MODELS),
        ("batching", BATCHINGS),
        ("optimizer", OPTIMIZERS),
        ("loss", LOSSES),
        ("point", POINTS),
        ("dataset", READERS),
    ],
)
def test_names_read_from_the_source_are_those_of_the_running_code(
    kind: str, registry: dict[str, Any]
) -> None:
    assert registered_names(kind) == list(registry)


GRID = "classification/digits-head"
MISTAKES = {
    "unknown key at the top": ("colour", "red", "unknown key 'colour'; allowed: profile, root"),
    "unknown key in a grid": (f"{GRID}/epoch", 3, "digits-head: unknown key 'epoch'; allowed:"),
    "unknown norm": (f"{GRID}/norms", ["bm"], "norms[0]: found 'bm'; allowed: none, bn, ln"),
    "unknown model": (f"{GRID}/model", "vgg", "model: found 'vgg'; allowed: head"),
    "unknown data set": (f"{GRID}/dataset", "mnist", "dataset: found 'mnist'; allowed: digits"),
    "unknown batching": (f"{GRID}/batchings", ["x"], "found 'x'; allowed: random, label"),
    "unknown optimizer": (f"{GRID}/optimizer", {"name": "adm"}, "found 'adm'; allowed: sgd"),
    "unknown optimizer setting": (
        f"{GRID}/optimizer",
        {"name": "sgd", "momentun": 0.9},
        "unknown key 'momentun'; allowed: name, momentum, weight_decay",
    ),
    "unknown numerics": ("numerics", "exact", "numerics: found 'exact'; allowed: portable, fast"),
    "a text for a number": (f"{GRID}/epochs", "12", "found '12' (str); allowed: integer"),
    "a YAML number without a dot": (f"{GRID}/learning_rates", ["1e-3"], "allowed: number"),
    "a single value for a list": (f"{GRID}/seeds", 10, "found 10 (int); allowed: array"),
    "a batch of one": (f"{GRID}/batch_size", 1, "1 is less than the minimum of 2"),
    "a snapshot after the end": (f"{GRID}/snapshots", [13], "snapshots: found [13]; allowed: 1 to"),
    "a size given twice": ("theorems/dims", [8, 8], "[8, 8] has non-unique elements"),
    "a rate that is no number": (f"{GRID}/learning_rates", [float("nan")], "finite numbers"),
    "no training data": (
        "data/digits",
        {"seed": 0, "validation": 0.5, "test": 0.5},
        "data.digits: validation and test leave no training data",
    ),
    "derivatives of a grid that is not there": (
        "derivatives/digits",
        {"batchings": ["label"], "batch_size": 8, "batches": 1},
        "derivatives.digits: no such grid; allowed: digits-head",
    ),
    "derivatives of a grid without BN": (
        f"{GRID}/norms",
        ["none", "ln"],
        "derivatives.digits-head: found norms ['none', 'ln']",
    ),
    "derivatives of random batches only": (
        "derivatives/digits-head/batchings",
        ["random"],
        "derivatives.digits-head.batchings: found ['random']; allowed: with label",
    ),
    "a path outside the project": ("root", "../elsewhere", "'../elsewhere' does not match"),
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


def test_a_missing_key_is_named(quick: dict[str, Any]) -> None:
    del quick["classification"]["digits-head"]["seeds"]
    with pytest.raises(BadInput, match="'seeds' is a required property"):
        check_config(quick)


def test_a_grid_cannot_use_data_that_the_profile_does_not_prepare(
    quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two registered data sets the profile prepares the one that its grids do not use."""

    def with_another(kind: str) -> list[str]:
        return [*registered_names(kind), *(["letters"] if kind == "dataset" else [])]

    monkeypatch.setattr("bnblind.pipeline.config.registered_names", with_another)
    quick["data"] = {"letters": quick["data"]["digits"]}
    said = "digits-head.dataset: found 'digits', which `data` does not prepare; allowed: letters"
    with pytest.raises(BadInput, match=said):
        check_config(quick)


def test_data_cannot_be_left_out(quick: dict[str, Any]) -> None:
    quick["data"] = {}
    with pytest.raises(BadInput, match=r"data: \{\} should be non-empty"):
        check_config(quick)


def test_a_cell_depends_on_its_own_settings_only(quick: dict[str, Any]) -> None:
    """Adding a norm to a grid leaves the other cells' settings, and so their results, alone."""
    before = {str(cell): cell_settings(quick, cell) for cell in cells(quick)}
    quick["classification"]["digits-head"]["norms"].append("in")
    after = {str(cell): cell_settings(quick, cell) for cell in cells(quick)}
    assert len(after) == len(before) + 2  # batchings
    assert before.items() <= after.items()


def test_planning_loads_no_numerical_library() -> None:
    source = (ROOT / "src/bnblind/pipeline/config.py").read_text()
    imports = {
        name.name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert not imports & {"torch", "numpy", "pandas"}
