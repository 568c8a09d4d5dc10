"""Raw and prepared data: as registered, or refused with what was there before left alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bnblind import BadInput
from bnblind.experiments import preparation
from bnblind.experiments.datasets import SPLITS, Dataset
from bnblind.pipeline.formats.prepared import read_dataset
from bnblind.pipeline.steps import export_data, prepare_data
from tests.steps.conftest import call, hashes

RAW = "digits.csv.gz"
SPLIT = {"seed": 0, "validation": 0.15, "test": 0.2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, registered: dict[str, Any]) -> Path:
    """Raw and prepared digits."""
    folder = tmp_path_factory.mktemp("digits")
    ((name, file),) = registered["files"].items()
    call(export_data, dataset="digits", registered=file, raw=folder / name)
    prepare(folder, registered)
    return folder


def prepare(folder: Path, registered: dict[str, Any], **changes: Any) -> None:
    options = {
        **{"dataset": "digits", "registered": registered, "split": SPLIT, "raw": [folder / RAW]},
        **{"prepared": folder / "prepared", "manifest": folder / "manifest"},
    }
    call(prepare_data, **{**options, **changes})


def test_the_raw_file_is_the_registered_one(folder: Path, registered: dict[str, Any]) -> None:
    assert hashes(folder)[RAW] == registered["files"][RAW]["sha256"]


def test_prepared_data_are_the_split_data_set(folder: Path, digits: Dataset) -> None:
    prepared = read_dataset(folder / "prepared")
    for name in SPLITS:
        found, expected = getattr(prepared, name), getattr(digits, name)
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.labels, expected.labels)
        assert torch.equal(found.pixels, expected.pixels)
    assert torch.equal(prepared.scale.mean, digits.scale.mean)
    assert torch.equal(prepared.scale.std, digits.scale.std)


def test_the_manifest_describes_the_prepared_data(folder: Path, registered: dict[str, Any]) -> None:
    manifest = json.loads((folder / "manifest").read_text())
    assert manifest["prepared_sha256"] == hashes(folder)["prepared"]
    assert manifest["raw_sha256"] == {RAW: registered["files"][RAW]["sha256"]}
    assert manifest["licence"] == registered["licence"]
    assert manifest["split"] == SPLIT
    prepared = read_dataset(folder / "prepared")
    for name in SPLITS:
        part, labels = manifest["parts"][name], getattr(prepared, name).labels
        assert part["samples"] == len(labels) == len(part["rows"]) == sum(part["by_class"])
        assert part["by_class"][3] == (labels == 3).sum()


@pytest.mark.parametrize("position", [0, 100, -1])
def test_a_raw_file_of_which_one_byte_was_changed_is_refused(
    folder: Path, registered: dict[str, Any], position: int, tmp_path: Path
) -> None:
    content = bytearray((folder / RAW).read_bytes())
    content[position] ^= 1
    damaged = tmp_path / RAW
    damaged.write_bytes(content)
    before = hashes(folder)
    with pytest.raises(BadInput, match=r"/digits\.csv\.gz: sha256 is .*, expected 09f66e6d"):
        prepare(folder, registered, raw=[damaged])
    assert hashes(folder) == before


def test_data_of_another_shape_than_registered_are_refused(
    folder: Path, registered: dict[str, Any]
) -> None:
    before = hashes(folder)
    with pytest.raises(BadInput, match=r"\[1, 8, 8\].*expected .*\[3, 8, 8\]"):
        prepare(folder, {**registered, "shape": [3, 8, 8]})
    assert hashes(folder) == before


def test_grey_values_beyond_the_registered_ones_are_refused(
    folder: Path, registered: dict[str, Any]
) -> None:
    with pytest.raises(BadInput, match="digits: the raw files hold grey values up to 16, expected"):
        prepare(folder, {**registered, "levels": 16})


def test_images_can_be_averaged_over_squares(folder: Path, registered: dict[str, Any]) -> None:
    """By hand for one square: its mean, rounded half up; and the parts stay the same."""
    few = folder / "few"
    few.mkdir()
    paths = {"prepared": few / "prepared", "manifest": few / "manifest"}
    prepare(folder, registered, split=SPLIT | {"pool": 2}, **paths)
    pixels = torch.zeros(1, 1, 3, 5, dtype=torch.uint8)
    assert preparation.pooled(pixels, 1) is pixels, "a copy four times as large"
    whole, pooled = (read_dataset(at / "prepared") for at in (folder, few))
    assert pooled.input_shape == (1, 4, 4)
    assert torch.equal(pooled.test.labels, whole.test.labels)
    squares = whole.test.pixels[:, 0, 2:4, 4:6].double().mean((1, 2))
    assert torch.equal(pooled.test.pixels[:, 0, 1, 2].double(), (squares + 0.5).floor())
    assert json.loads((few / "manifest").read_text())["shape"] == [1, 4, 4]
    with pytest.raises(BadInput, match="pool: found squares of 3 pixels a side for images of 8 x"):
        prepare(folder, registered, split=SPLIT | {"pool": 3}, **paths)
