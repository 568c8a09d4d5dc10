"""What another profile has published is taken over as it was recorded, or not at all."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bnblind.errors import BadInput
from bnblind.pipeline.adoption import shown
from bnblind.pipeline.artifacts import Artifact, artifacts
from bnblind.pipeline.configuration.check import check_config
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.paths import Paths
from bnblind.pipeline.steps import adopt
from tests.conftest import ROOT
from tests.steps.conftest import call


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A record of two files, beside them."""
    folder, record = tmp_path / "published/practice", {}
    for name, content in (("data/a.parquet", b"a"), ("data/b.parquet", b"b")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        record[name] = {"sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "published/practice.json").write_text(json.dumps(record))
    return folder


def adopted(published: Path, folder: Path) -> list[Path]:
    names = ["data/a.parquet", "data/b.parquet"]
    taken = [folder / Path(name).name for name in names]
    found = [published / name for name in names]
    call(adopt, record=published.with_suffix(".json"), found=found, taken=taken)
    return taken


def test_files_are_taken_over_as_recorded(published: Path, tmp_path: Path) -> None:
    assert [path.read_bytes() for path in adopted(published, tmp_path)] == [b"a", b"b"]


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_altered_file_is_refused_and_nothing_taken(
    published: Path, tmp_path: Path, name: str
) -> None:
    (published / f"data/{name}.parquet").write_bytes(b"c")
    with pytest.raises(
        BadInput, match=rf"{name}.parquet is not as .*practice.json has it; allowed"
    ):
        adopted(published, tmp_path)
    assert not list(tmp_path.glob("*.parquet"))


def made_by(config: dict[str, Any]) -> list[Artifact]:
    return artifacts(config, experiments().values(), datasets())


def rules(config: dict[str, Any]) -> set[str]:
    return {artifact.rule for artifact in made_by(config)}


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    monkeypatch.chdir(ROOT)
    return {
        name: read_yaml(Path(f"config/{name}.yaml")) for name in ("config", "practice", "extended")
    }


def test_a_section_of_another_profile_is_shown_whole(profiles: dict[str, dict[str, Any]]) -> None:
    """Its tables and pages; nothing of it is trained."""
    quick, practice = profiles["config"], profiles["practice"]
    assert {"adopt_practice", "collect_gan", "gan_page", "federated_page"} <= rules(quick)
    assert not {"train_gan", "train_federated"} & rules(quick)
    assert {"train_gan", "collect_gan", "gan_page"} <= rules(practice)
    assert not {"adopt_practice", "train_purity", "purity_page"} & rules(practice)
    taken = {a.path: a.taken_from for a in made_by(quick) if a.owner == "practice"}
    assert (
        taken["data/results/gan/practice.parquet"] == "published/practice/data/results/gan.parquet"
    )
    assert "data/results/gan/digits/bn-samples.safetensors" in taken
    assert any(a.path.startswith("reports/figures/gan/digits-") for a in made_by(quick))


def test_grids_of_another_profile_stand_beside_the_own_ones(
    profiles: dict[str, dict[str, Any]],
) -> None:
    quick, extended = profiles["config"], profiles["extended"]
    whole = shown(quick, experiments().values())
    assert {*whole.config["classification"]} == {
        *quick["classification"],
        *extended["classification"],
    }
    assert whole.owner("classification", "digits-resnet") == "extended"
    assert whole.owner("classification", "digits-head-judged") == ""
    made = {a.path: a for a in made_by(quick)}
    assert "data/results/classification/digits-head-judged/bn.parquet" in made
    assert "data/results/classification/digits-resnet/bn.parquet" not in made
    assert made["data/results/derivatives/digits-conv-terms.parquet"].rule == "adopt_extended"
    assert made["data/results/derivatives/digits-head-judged-terms.parquet"].rule == "derivatives"
    assert "reports/figures/classification/digits-accuracies.svg" in made
    assert not [a for a in made.values() if a.kind == "weights" and "resnet" in a.path]


@pytest.mark.parametrize(
    ("shows", "message"),
    [
        ({"nothing": ["gan"]}, "shows: the profile nothing has published nothing; allowed: "),
        ({"practice": ["flows"]}, "shows.practice: found flows; allowed: gan, federated"),
        ({"practice": ["theorems"]}, "shows.practice: found theorems; allowed: gan, federated"),
        (
            {"extended": ["classification"]},
            "classification.digits-resnet: the profile extended, which is shown, has published a "
            "grid of this name",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(
    profiles: dict[str, dict[str, Any]], shows: dict[str, list[str]], message: str
) -> None:
    quick = profiles["config"] | {"shows": shows}
    quick["classification"]["digits-resnet"] = quick["classification"]["digits-head-judged"] | {
        "seeds": [99]
    }
    with pytest.raises(BadInput, match=message):
        check_config(quick, experiments().values())


def test_a_run_that_both_profiles_hold_is_refused(profiles: dict[str, dict[str, Any]]) -> None:
    quick, extended = profiles["config"], profiles["extended"]
    quick["classification"]["again"] = extended["classification"]["digits-resnet"]
    with pytest.raises(BadInput, match="digits-resnet: found digits, resnet, none"):
        check_config(quick, experiments().values())


@pytest.fixture
def with_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The default profile, as it shows a profile `images` that was published."""
    for name in ("config", "workflow", "src", "notebooks"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "published", tmp_path / "published")
    monkeypatch.chdir(tmp_path)
    images = read_yaml(Path("config/images.yaml"))
    folder = tmp_path / "published/images"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"profile": images}))
    (folder / "machine.json").write_text(json.dumps({"processor": "a computer"}))
    quick: dict[str, Any] = read_yaml(Path("config/config.yaml"))
    return quick | {"shows": quick["shows"] | {"images": [*experiments()["images"].needs]}}


def test_a_profile_with_a_page_of_its_own_is_not_among_the_others(
    with_images: dict[str, Any],
) -> None:
    declared = experiments()
    check_config(with_images, declared.values())
    whole = shown(with_images, declared.values())
    assert not {"fashion-vgg11", "mnist"} & {*whole.config["classification"]}
    made = {a.path: a for a in made_by(with_images)}
    taken = made["data/results/images/classification.parquet"]
    assert taken.rule == "adopt_images"
    assert taken.taken_from == "published/images/data/results/classification.parquet"
    assert "data/results/images/derivatives/fashion-vgg11-terms.parquet" in made
    assert "reports/figures/images/readings.svg" in made
    assert not [path for path in made if path.startswith("reports/figures/classification/fashion")]
    page = declared["images"]
    assert whole.marks(page) == {"images": {"grids": [], "machine": "a computer"}}
    config, paths = whole.view(page, Paths("."))
    inputs = page.page_inputs(config, paths)
    assert inputs["flows"] == "data/results/images/flows.parquet"
    assert {*inputs["terms"].values()} <= {*made}


def test_a_page_without_a_section_that_it_needs_is_refused(with_images: dict[str, Any]) -> None:
    shows = with_images["shows"] | {"images": ["classification", "flows"]}
    with pytest.raises(
        BadInput, match=r"shows\.images: its page needs rates, derivatives, features as"
    ):
        check_config(with_images | {"shows": shows}, experiments().values())


def test_the_profile_itself_draws_that_page_from_its_own_tables(
    with_images: dict[str, Any],
) -> None:
    images = read_yaml(Path("config/images.yaml"))
    made = {a.path: a for a in made_by(images)}
    assert "runs/images/reports/figures/images/readings.svg" in made
    whole = shown(images, experiments().values())
    config, paths = whole.view(experiments()["images"], Paths("runs/images"))
    inputs = experiments()["images"].page_inputs(config, paths)
    assert inputs["classification"] == "runs/images/data/results/classification.parquet"
    assert "images_page" not in rules(read_yaml(Path("config/practice.yaml")))


def test_a_section_that_another_one_needs_is_named(profiles: dict[str, dict[str, Any]]) -> None:
    quick = profiles["config"]
    del quick["remedies"]
    check_config(quick, experiments().values())
    assert "remedies_page" not in rules(quick)
    del quick["rates"]
    with pytest.raises(BadInput, match="classification: needs the section 'rates', which is not"):
        check_config(quick, experiments().values())


def test_results_on_data_that_are_not_prepared_here_are_refused(
    with_images: dict[str, Any],
) -> None:
    """Pages show the data, too."""
    others = with_images | {"shows": {"extended": ["flows"]}, "data": {"mnist": {}}}
    told = r"shows\.extended: its flows is of the data set digits, which is not .*: .*`data`, mnist"
    with pytest.raises(BadInput, match=told):
        shown(others, experiments().values())


def test_a_page_of_gans_has_figures_for_each_data_set(with_images: dict[str, Any]) -> None:
    page = experiments()["gan"]
    grids = read_yaml(Path("config/practice.yaml"))["gan"]
    (grid,) = grids.values()
    config = {"root": ".", "gan": {"one": grid, "two": grid | {"dataset": "mnist"}}}
    assert {"gan/digits-distances", "gan/mnist-distances"} <= {*page.stems(config)}
    samples = page.page_inputs(config, Paths("."))["samples"]
    assert {dataset: len(files) for dataset, files in samples.items()} == dict.fromkeys(
        ("digits", "mnist"), len(grid["norms"])
    )
