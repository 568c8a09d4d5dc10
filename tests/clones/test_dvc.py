"""DVC and Snakemake agree: what one made the other takes as it is."""

import json
import os
from pathlib import Path

import yaml

from bnblind.pipeline.artifacts import artifacts
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from tests.helpers.clones import ROOT, Clone, commit_hashes, copy_of


def test_repro_after_snakemake_runs_no_job_and_publishes_the_same_hashes(
    first: Clone, committed: Clone, tmp_path: Path
) -> None:
    clone = copy_of(first, tmp_path / "of the first")
    printed = clone.run("dvc", "repro")
    stages = yaml.safe_load((clone.path / "dvc.yaml").read_text())["stages"]
    assert printed.count("Nothing to be done") == len(stages)
    assert "Finished jobid" not in printed
    commit_hashes(clone)
    assert "up to date" in clone.run("dvc", "status")
    assert clone.run("git", "status", "--porcelain") == ""
    assert (clone.path / "dvc.lock").read_text() == (committed.path / "dvc.lock").read_text()


def test_the_receipt_reads_the_bytes_that_snakemake_does_not(finished: Clone) -> None:
    receipt = ("env", "PYTHONPATH=src", "python", "-m", "bnblind", "receipt")
    number = len(finished.outputs())
    finished.run(*receipt, "--record")
    printed = finished.run(*receipt)
    assert f"{number} of {number} files identical to the published record" in printed

    weights = finished.path / "data/models/classification/digits-head/bn.safetensors"
    content, times = bytearray(weights.read_bytes()), weights.stat()
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert finished.planned() == {}, "Snakemake goes by modification times"
    code, printed = finished.attempt(*receipt)
    assert code == 1
    assert "different: data/models/classification/digits-head/bn.safetensors" in printed
    assert f"{number - 1} of {number} files identical" in printed


def test_stage_outs_and_rule_outputs_cover_each_other(first: Clone) -> None:
    stages = yaml.safe_load((first.path / "dvc.yaml").read_text())["stages"]
    outs = [path for stage in stages.values() for out in stage["outs"] for path in out]
    lines = [line.split("\t") for line in first.run("snakemake", "--summary").splitlines()]
    made = {line[0]: line[2] for line in lines if line[0].startswith(("data/", "reports/"))}
    assert set(made) == {str(file) for file in first.outputs()}
    profile = read_yaml(first.path / "config/config.yaml")
    known = artifacts(profile, experiments().values(), datasets())
    assert {artifact.path: artifact.rule for artifact in known} == made
    for file in made:
        assert sum(file == out or file.startswith(f"{out}/") for out in outs) == 1, file
    for out in outs:
        assert any(file == out or file.startswith(f"{out}/") for file in made), out


def test_prune_removes_what_no_job_makes_and_nothing_else(finished: Clone) -> None:
    stale = finished.path / "data/models/classification/old-grid/bn.safetensors"
    outside = finished.path / "data/results/old.parquet"
    stale.parent.mkdir()
    for file in (stale, outside):
        file.write_bytes(b"stale")
    before = set(finished.outputs())
    printed = finished.run("python", "scripts/prune.py", "data/models", "config")
    outside.unlink()
    assert "old-grid" in printed
    assert before - set(finished.outputs()) == {
        f.relative_to(finished.path) for f in (stale, outside)
    }
    assert (finished.path / "config/config.yaml").exists()


def test_metrics_and_plots_of_the_published_run_exist(first: Clone) -> None:
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert "test.eval.accuracy" in first.run("dvc", "metrics", "show")
    for plot in declared["plots"]:
        (file,) = plot
        assert (first.path / file).is_file(), file


def test_an_experiment_of_dvc_varies_the_profile(committed: Clone, tmp_path: Path) -> None:
    clone = copy_of(committed, tmp_path / "varied")
    before = clone.hashes()
    dims = "config/config.yaml:theorems.dims=[16]"
    clone.run("dvc", "exp", "run", "--set-param", dims, "analysis")
    changed = json.loads(clone.run("dvc", "params", "diff", "--json"))
    assert changed["config/config.yaml"] == {"theorems.dims": {"old": "[8]", "new": "[16]"}}
    after = clone.hashes()
    assert "data/results/theorems/errors.parquet" in {n for n in after if before[n] != after[n]}
    models = [name for name in before if name.startswith("data/models")]
    assert models
    assert all(before[name] == after[name] for name in models)
