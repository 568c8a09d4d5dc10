"""Every legal profile runs to the end, also the smallest one and one with several grids."""

import json
import re

import yaml

from tests.helpers.clones import Clone
from tests.helpers.commit import beside_no_fresh_machine


@beside_no_fresh_machine
def test_a_minimal_profile_and_one_of_two_grids(workspace: Clone) -> None:
    """One norm, one batching, one eps, a rate given as an integer; two grids of other lengths; and
    no more experiments than need each other.
    """
    profile = yaml.safe_load((workspace.path / "config/smoke.yaml").read_text())
    grid = profile["classification"]["digits-head"]
    small = {"norms": ["bn"], "batchings": ["label"], "learning_rates": [1]}
    small["optimizer"] = {"name": "sgd"}
    longer = {"norms": ["none"], "batchings": ["random"], "learning_rates": [1.0e-5], "epochs": 2}
    probing = {"batchings": ["label"], "batch_size": 8, "batches": 2}
    profile["classification"] = {"a": grid | small, "b": grid | longer}
    profile["derivatives"] = {"a": probing}
    swept = {"norms": ["none"], "seeds": [1]}
    profile["rates"] = {"b": swept | {"batchings": ["random"], "learning_rates": [2]}}
    profile["purity"] = {"a": swept | {"purities": [1], "batches": 1}}
    once = swept | {"batchings": ["random"], "batches": 1}
    profile["causes"] = {"b": once | {"weight_decays": [0]}}
    profile["remedies"] = {"b": once}
    profile["features"] = {"b": {"tsne": {"norms": ["none"], "seed": 0, "samples": 40}}}
    del profile["flows"], profile["gan"], profile["shows"]
    profile["theorems"] |= {"norms": ["none"], "losses": ["linear"], "eps": [0.0]}
    profile |= {"profile": "minimal", "root": "runs/minimal"}
    (workspace.path / "config/minimal.yaml").write_text(yaml.safe_dump(profile))

    workspace.run("snakemake", "--cores", "2", "--configfile", "config/minimal.yaml")
    reports = workspace.path / "runs/minimal/reports"
    assert (reports / "figures/classification/digits-curves.svg").is_file()
    page = (reports / "pages/classification.html").read_text()
    assert "Learning rate 1, seeds 0" in page
    assert "Learning rate 1e-05, seeds 0" in page
    assert not workspace.outputs(), "a profile wrote outside its root"


def test_a_run_that_cannot_end_does_not_begin(workspace: Clone) -> None:
    profile = yaml.safe_load((workspace.path / "config/smoke.yaml").read_text())
    profile["classification"]["digits-head"] |= {"model": "vgg11", "device": "cuda:99"}
    profile |= {"profile": "deep", "root": "runs/deep"}
    (workspace.path / "config/deep.yaml").write_text(yaml.safe_dump(profile))
    code, printed = workspace.attempt(
        "snakemake", "--cores", "1", "--configfile", "config/deep.yaml"
    )
    assert code == 1
    assert "error: digits, vgg11: vgg11 halves the image 5 times; found images of 8 x 8" in printed
    assert "error: device: found cuda:99; allowed on this machine: cpu" in printed
    assert not (workspace.path / "runs/deep").exists()


def test_jobs_ask_for_what_those_of_their_own_profile_used(workspace: Clone) -> None:
    """Half as much memory again as the largest job of the rule in the published run."""
    used = json.loads((workspace.path / "published/images/jobs.json").read_text())
    largest = max(own["peak_mb"] for job, own in used.items() if job.startswith("train_class"))
    planned = workspace.run("snakemake", "--dry-run", "--configfile", "config/images.yaml")
    jobs = planned.partition("\nrule train_classification:")[2]
    asked = re.search(r"resources: .*mem_mb=(\d+)", jobs)
    assert asked is not None
    assert int(asked[1]) == round(1.5 * largest) > 3000
