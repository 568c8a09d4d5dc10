"""The pipeline on a cluster: a real SLURM of one machine."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.clones import PAGES, Clone
from tests.helpers.commit import TURN
from tests.helpers.slurm import Cluster, cluster, lacking

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())
ON_IT = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One at a time on a machine, whichever of pytest's processes starts it."""
    lock = FileLock(tmp_path_factory.getbasetemp().parent / "slurm.lock")
    with lock, cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


WHOLE = TURN == "cluster"
PART = [f"reports/pages/{rule.removesuffix('_page')}.html" for rule in [*PAGES][:4]]


def test_the_same_bytes_though_the_controller_is_killed_meanwhile(
    slurm: Cluster, workspace: Clone, first: Clone
) -> None:
    running = workspace.start("snakemake", *ON_IT, "--jobs", "4", *(() if WHOLE else PART))
    submitted, seen, last = workspace.path / ".snakemake/slurm_logs", set[Path](), time.monotonic()
    # The controller notes its state within five seconds; jobs that it has not noted are lost to it.
    while running.poll() is None and (len(seen) < 3 or time.monotonic() < last + 6):
        if found := {*submitted.rglob("*.log")} - seen:
            seen, last = seen | found, time.monotonic()
        time.sleep(0.2)
    assert running.poll() is None, running.communicate()
    slurm.kill_controller()
    time.sleep(5)
    slurm.start_controller()
    printed, _ = running.communicate(timeout=1800)
    assert running.returncode == 0, printed[-3000:]
    assert printed.count("has been submitted with SLURM jobid") >= (30 if WHOLE else 10)
    made, expected = workspace.hashes(), first.hashes()
    assert made == expected if WHOLE else made.items() <= expected.items()
    assert {*PART} <= {*made}


def test_a_failing_job_is_reported_with_its_message(slurm: Cluster, finished: Clone) -> None:
    raw = finished.path / "data/raw/digits/digits.csv.gz"
    raw.write_bytes(raw.read_bytes()[:-1])
    target = "data/prepared/digits.safetensors"
    code, printed = finished.attempt("snakemake", target, *ON_IT, "--retries", "0")
    assert code != 0
    assert "Error in rule prepare_data" in printed
    assert "Traceback" not in finished.log("prepare_data/digits")
    assert "digits.csv.gz" in finished.log("prepare_data/digits")
