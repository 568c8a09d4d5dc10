"""What another profile has published is taken over as it was recorded, or not at all."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from bnblind.errors import BadInput
from bnblind.pipeline.artifacts import artifacts
from bnblind.pipeline.configuration.check import check_config
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
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


def rules(config: dict[str, Any]) -> set[str]:
    return {artifact.rule for artifact in artifacts(config, experiments().values(), datasets())}


def test_a_profile_shows_what_another_one_has_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its tables and pages; it trains nothing of it."""
    monkeypatch.chdir(ROOT)
    quick, practice = (read_yaml(Path(f"config/{name}.yaml")) for name in ("config", "practice"))
    assert {"adopt_gan", "gan_page", "adopt_federated", "federated_page"} <= rules(quick)
    assert not {"train_gan", "collect_gan", "train_federated"} & rules(quick)
    assert {"train_gan", "collect_gan", "gan_page"} <= rules(practice)
    assert not {"adopt_gan", "train_purity", "purity_page"} & rules(practice)
    of_quick = {a.path for a in artifacts(quick, experiments().values(), datasets())}
    assert "data/results/gan.parquet" in of_quick
    assert any(path.startswith("reports/figures/gan/digits-") for path in of_quick)


def test_a_section_that_another_one_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    quick = read_yaml(Path("config/config.yaml"))
    del quick["remedies"]
    check_config(quick, experiments().values())
    assert "remedies_page" not in rules(quick)
    del quick["rates"]
    with pytest.raises(BadInput, match="classification: needs the section 'rates', which is not"):
        check_config(quick, experiments().values())
