"""DVC and Snakemake agree: what one made the other takes as it is."""

import yaml

from bnblind.pipeline.artifacts import artifacts
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from tests.helpers.clones import ROOT, Clone


def commit(clone: Clone) -> None:
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    clone.run("git", "add", "dvc.lock")
    clone.run("git", *author, "commit", "--quiet", "--message", "hashes")


def test_repro_after_snakemake_runs_no_job_and_publishes_the_same_hashes(
    first: Clone, second: Clone
) -> None:
    printed = first.run("dvc", "repro")
    stages = yaml.safe_load((first.path / "dvc.yaml").read_text())["stages"]
    assert printed.count("Nothing to be done") == len(stages)
    assert "Finished jobid" not in printed
    commit(first)
    lock = (first.path / "dvc.lock").read_text()

    assert "up to date" in first.run("dvc", "status")
    first.run("dvc", "repro")
    assert (first.path / "dvc.lock").read_text() == lock
    assert first.run("git", "status", "--porcelain") == ""
    assert "identical to the published hashes" in first.run(
        "python", "-m", "bnblind.review.published"
    )

    second.run("dvc", "repro")
    assert (second.path / "dvc.lock").read_text() == lock


def test_a_differing_output_is_reported(first: Clone) -> None:
    if not (first.path / "dvc.lock").exists():
        first.run("dvc", "repro")
        commit(first)
    lock = (first.path / "dvc.lock").read_text()
    published = yaml.safe_load(lock)["stages"]["report"]["outs"]
    entry = next(out for out in published if out["path"] == "reports/figures")
    first.edit("dvc.lock", entry["md5"], "0" * 32 + ".dir")
    try:
        code, printed = first.attempt("python", "-m", "bnblind.review.published")
    finally:
        (first.path / "dvc.lock").write_text(lock)
    assert code == 1
    assert "reports/figures: published" in printed
    assert "data/models" not in printed


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


def test_prune_removes_what_no_job_makes_and_nothing_else(first: Clone) -> None:
    stale = first.path / "data/models/classification/old-grid/bn.safetensors"
    outside = first.path / "data/results/old.parquet"
    stale.parent.mkdir()
    for file in (stale, outside):
        file.write_bytes(b"stale")
    before = set(first.outputs())
    printed = first.run("python", "scripts/prune.py", "data/models", "config")
    outside.unlink()
    assert "old-grid" in printed
    assert before - set(first.outputs()) == {f.relative_to(first.path) for f in (stale, outside)}
    assert (first.path / "config/config.yaml").exists()


def test_metrics_and_plots_of_the_published_run_exist(first: Clone) -> None:
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert "test.eval.accuracy" in first.run("dvc", "metrics", "show")
    for plot in declared["plots"]:
        (file,) = plot
        assert (first.path / file).is_file(), file
