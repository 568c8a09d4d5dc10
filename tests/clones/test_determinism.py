"""The same bytes under all circumstances, and nothing to do the second time."""

import subprocess

import pytest

from tests.helpers.clones import Clone


def test_both_clones_hold_the_same_bytes(first: Clone, second: Clone) -> None:
    """--cores 1 and 8, two directories, other TZ, LANG, umask, PYTHONHASHSEED, thread count."""
    kinds = {file.suffix for file in first.outputs()}
    assert {".safetensors", ".parquet", ".svg", ".pdf", ".png", ".csv", ".html", ".ipynb"} <= kinds
    assert first.hashes() == second.hashes()


def test_the_second_clones_language_is_another_one(second: Clone) -> None:
    listed = subprocess.run(["locale", "-a"], check=True, capture_output=True, text=True).stdout
    if "tr_TR.utf8" not in listed.split():
        pytest.skip("needs the language tr_TR.UTF-8: localedef -i tr_TR -f UTF-8 tr_TR.UTF-8")
    code = "import locale; locale.setlocale(locale.LC_ALL, ''); print(f'{0.5:n}')"
    assert second.run("python", "-c", code) == "0,5\n"


def test_a_second_run_has_nothing_to_do(first: Clone, second: Clone) -> None:
    assert first.planned() == {}
    assert second.planned() == {}


def test_no_output_names_the_place_or_the_person(second: Clone) -> None:
    for file in second.outputs():
        content = (second.path / file).read_bytes()
        assert str(second.path).encode() not in content, file
        assert b"Kathmandu" not in content, file


def test_both_entry_points_and_the_dvc_stages_plan_the_same_jobs(workspace: Clone) -> None:
    """In a clone where nothing has run, so that every job is planned."""
    plan = workspace.planned()
    assert sum(plan.values()) > 0
    assert workspace.planned("--snakefile", "workflow/Snakefile") == plan
    targets = ("prepared", "trained", "analysed", "reported")
    staged = workspace.planned("--", *targets)
    assert {rule: n for rule, n in staged.items() if rule not in targets} == plan
