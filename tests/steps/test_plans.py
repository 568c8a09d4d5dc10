"""Every profile is planned whole, and a broken one is named."""

import shutil
from pathlib import Path

import pytest

from bnblind.pipeline.configuration.schema import read_yaml
from tests.conftest import ROOT, RunPython

PROFILES = [
    path
    for path in sorted((ROOT / "config").glob("*.yaml"))
    if "profile" in read_yaml(path) and path.stem not in ("config", "smoke")
]
"""Those that the tests do not run."""

LINKED = ("Snakefile", "profiles", "src", "workflow")


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
