"""Every profile is planned whole, and a broken one is named."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bnblind.pipeline.configuration.check import check_config
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.discovery import experiments
from tests.conftest import ROOT, RunPython

PROFILES = [
    path
    for path in sorted((ROOT / "config").glob("*.yaml"))
    if "profile" in read_yaml(path) and path.stem not in ("config", "smoke")
]
"""Those that the tests do not run."""

LINKED = ("CITATION.cff", "Snakefile", "profiles", "src", "workflow")


def test_there_are_profiles_to_plan() -> None:
    assert {"extended", "full", "images", "paper", "practice"} <= {path.stem for path in PROFILES}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_file_of_a_profile_has_a_rule_that_makes_it(
    path: Path, tmp_path: Path, run_python: RunPython
) -> None:
    """A file whose name no rule's pattern takes would be missing, with no rule to make it."""
    for name in (*LINKED, "config", "docs", "notebooks", "proofs", "published"):
        (tmp_path / name).symlink_to(ROOT / name)
    ended = run_python(
        "-m", "snakemake", "-n", "--quiet", "all", "--configfile", path, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_planning_names_the_default_profile_where_it_is_not_valid_yaml(
    tmp_path: Path, run_python: RunPython
) -> None:
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "config/config.yaml").write_text("profile: quick\nroot: [\n")
    ended = run_python("-m", "snakemake", "-n", "--quiet", "all", cwd=tmp_path)
    assert ended.returncode == 1
    assert "config/config.yaml is not valid YAML" in ended.stdout
    assert "line 3, column 1" in ended.stdout


def test_the_profile_for_gpus_that_the_docs_make_trains_every_network_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (ROOT / "docs/gpus.md").read_text()
    command = "sed" + told.partition("\nsed")[2].partition("\nsnakemake")[0]
    shutil.copytree(ROOT / "config", tmp_path / "config")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    config = read_yaml(tmp_path / "config/paper-gpu.yaml")
    monkeypatch.chdir(ROOT)
    check_config(config, experiments().values())
    assert (config["profile"], config["root"]) == ("paper-gpu", "runs/paper-gpu")
    trained = [experiments()[name].training for name in ("classification", "rates", "flows")]
    assert {cell.device for of in trained if of for cell in of.all_cells(config)} == {"cuda"}
