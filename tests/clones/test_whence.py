"""What was made from what, and what would run: asked of Snakemake, and true of the files."""

import hashlib
import io
import json
import re
import shutil
from html import unescape
from typing import Any

import pytest
import yaml
from PIL import Image

from bnblind.pipeline.artifacts import asked_for
from tests.helpers.clones import Clone

BNBLIND = ("env", "PYTHONPATH=src", "python", "-m", "bnblind")
FIGURE = "reports/figures/theorems/passing"
TABLE = "data/results/theorems/passing.parquet"


def sha256(clone: Clone, path: str) -> str:
    return hashlib.sha256((clone.path / path).read_bytes()).hexdigest()


def whence(clone: Clone, file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(clone.run(*BNBLIND, "whence", file, "--json"))
    return found


def test_a_figure_is_traced_to_the_raw_data(first: Clone) -> None:
    file = "reports/figures/classification/digits-curves.svg"
    told = whence(first, file)
    files = told["files"]
    for path, node in files.items():
        assert node["sha256"] == sha256(first, path)
        for code, digest in node.get("code", {}).items():
            assert digest == sha256(first, code)
    assert files[file]["rule"] == "classification_page"
    assert "notebooks/classification.ipynb" in files[file]["code"]
    assert "src/bnblind/experiments/networks/training.py" not in files[file]["code"]
    trained = files["data/results/classification/digits-head/bn.parquet"]
    assert "src/bnblind/experiments/networks/training.py" in trained["code"]
    assert "data/raw/digits/digits.csv.gz" in files
    assert told["commit"] == first.run("git", "rev-parse", "HEAD").strip()
    assert told["configuration"].keys() >= {"classification", "data", "numerics"}
    assert "theorems" not in told["configuration"]
    tree = first.run(*BNBLIND, "whence", file).splitlines()
    digest = files[file]["sha256"][:12]
    assert tree[0].startswith(f"{file}  sha256 {digest}, rule classification_page")
    raw = next(line for line in tree if "data/raw/" in line)
    assert raw.startswith("        data/raw/digits"), "four steps below the figure"


def test_the_recorded_command_makes_the_same_file(finished: Clone) -> None:
    command = whence(finished, TABLE)["files"][TABLE]["command"]
    before = sha256(finished, TABLE)
    (finished.path / TABLE).unlink()
    finished.run("sh", "-c", f"PYTHONPATH=src {command}")
    assert sha256(finished, TABLE) == before


def test_pictures_say_what_they_were_made_from(first: Clone) -> None:
    """In the metadata of every format the same: rule, settings, and hashes of the tables."""
    svg, pdf, png = ((first.path / f"{FIGURE}.{s}").read_bytes() for s in ("svg", "pdf", "png"))
    found = re.search(rb"<dc:source>(.*?)</dc:source>", svg, re.DOTALL)
    assert found is not None
    told = json.loads(unescape(found[1].decode()))
    assert told["rule"] == "theorems_page"
    assert told["inputs"][TABLE] == sha256(first, TABLE)
    assert len(told["inputs"]) == 4
    assert told["configuration"]["numerics"] == ["x86-64-v3", 1]
    assert json.loads(Image.open(io.BytesIO(png)).info["Source"]) == told
    assert sha256(first, TABLE).encode() in pdf
    digits = Image.open(first.path / "reports/figures/data/digits.png").info["Source"]
    assert json.loads(digits) == {
        "rule": "contact_sheet",
        "configuration": {"dataset": "digits"},
        "inputs": {
            "data/prepared/digits.safetensors": sha256(first, "data/prepared/digits.safetensors")
        },
    }


def test_a_file_that_no_rule_makes_is_refused_with_the_nearest_name(first: Clone) -> None:
    code, printed = first.attempt(*BNBLIND, "whence", f"{FIGURE}.sgv")
    assert code == 1
    assert printed == (
        f"error: {FIGURE}.sgv is no output of config/config.yaml; did you mean {FIGURE}.svg?\n"
    )


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("clams", "claims"),
        ("train_classifcation", "train_classification"),
        (f"{FIGURE}.sgv", f"{FIGURE}.svg"),
        ("report/claims.json", "reports/claims.json"),
        ("runs/smoke/reports/index.html", "reports/index.html"),
    ],
)
def test_snakemake_too_names_the_nearest_of_what_it_cannot_make(
    asked: str, meant: str, first: Clone
) -> None:
    code, printed = first.attempt("snakemake", "--dry-run", asked)
    assert code == 1
    assert printed.splitlines()[-1] == (f"error: there is no target {asked}; did you mean {meant}?")
    assert "Traceback" not in printed
    assert "  File " not in printed


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("a b", ["a", "b"]),
        ("--cores 2 a b", ["a", "b"]),
        ("-n a", ["a"]),
        ("a --configfile config/smoke.yaml", ["a"]),
        ("--configfile config/smoke.yaml a", []),
        ("--config numerics=fast", []),
        ("--quiet rules host -- a b", ["a", "b"]),
        ("--report reports/x.html a", ["a"]),
        ("", []),
    ],
)
def test_what_a_command_line_asks_for(words: str, asked: list[str]) -> None:
    assert [*asked_for(words.split())] == asked


def test_values_of_options_are_no_targets(finished: Clone) -> None:
    finished.run("snakemake", "--dry-run", "--cores", "2", "--", "all")
    finished.run("snakemake", "--report", "reports/x.html", "--cores", "1")
    assert (finished.path / "reports/x.html").is_file()


def test_the_page_that_shows_the_whole_profile_comes_from_all_of_it(first: Clone) -> None:
    told = first.run(*BNBLIND, "whence", "reports/pages/pipeline.html")
    named = re.search("^configuration: (.*) of config/config.yaml$", told, re.MULTILINE)
    assert named is not None
    config = yaml.safe_load((first.path / "config/config.yaml").read_text())
    assert named[1].split(", ") == [*config]


def test_without_git_whether_the_code_changed_is_not_claimed(finished: Clone) -> None:
    shutil.rmtree(finished.path / ".git")
    told = finished.run(*BNBLIND, "whence", f"{FIGURE}.svg").splitlines()[-1]
    assert told == "commit: unknown, whether changed is unknown"


def planned(clone: Clone, *options: str) -> dict[str, tuple[int, str]]:
    """Rule -> number of jobs and the reasons, as ``bnblind plan`` tells."""
    _, *lines = clone.run(*BNBLIND, "plan", *options).splitlines()
    if options:
        assert lines.pop().startswith("no run of the profile smoke is published: seconds are")
    total = lines.pop()
    rows = {words[0]: words for words in (line.split(maxsplit=5) for line in lines)}
    assert int(total.split()[1]) == sum(int(words[1]) for words in rows.values())
    assert int(total.split()[2]) == pytest.approx(
        sum(int(words[2]) for words in rows.values()), abs=len(rows)
    )
    return {rule: (int(words[1]), words[5]) for rule, words in rows.items()}


def test_the_plan_is_snakemakes_with_reasons_and_costs(finished: Clone) -> None:
    assert finished.run(*BNBLIND, "plan") == "nothing to do\n"
    finished.edit("config/config.yaml", "1.0e-5]\n  seeds: [0]", "1.0e-5]\n  seeds: [1]")
    plan = planned(finished)
    assert {rule: jobs for rule, (jobs, _) in plan.items()} == finished.planned()
    assert plan["theorems"][1].startswith("Params have changed")
    assert plan["theorems_page"][1] == "Input files updated by another job"
    whole = planned(finished, "--configfile", "config/smoke.yaml")
    assert {rule: jobs for rule, (jobs, _) in whole.items()} == finished.planned(
        "--configfile", "config/smoke.yaml"
    )
    assert whole["theorems"] == (1, "Missing output files")
    assert not (finished.path / "runs").exists()


def test_a_plan_of_what_does_not_exist_is_one_error(first: Clone) -> None:
    code, printed = first.attempt(*BNBLIND, "plan", "--configfile", "config/none.yaml")
    assert code == 1
    assert printed.startswith("error: ")
    assert "Traceback" not in printed
    assert "config/none.yaml" in printed
