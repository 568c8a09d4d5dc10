"""A failing job: one clear error, the previous results intact, and recovery."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.clones import Clone

LISTING = "data/models/weights.json"
"""Needs every job that keeps weights, and no sweep, whose diverged runs are results."""
LEAK = "data/results/theorems/leak.parquet"


def wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def belongs_to(process: Path, clone: Clone) -> bool:
    try:
        return (process / "cwd").resolve(strict=True) == clone.path
    except OSError:  # gone meanwhile, or another user's
        return False


def running(clone: Clone, step: str = "") -> list[int]:
    """Process ids of this clone's steps, or of those called ``step``."""
    wanted = f"\0bnblind.pipeline\0{step}"
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if belongs_to(process, clone) and wanted in (process / "cmdline").read_text()
    ]


def status_of(process: int) -> str:
    return Path(f"/proc/{process}/status").read_text()


def recover(clone: Clone, before: dict[str, str], *targets: str) -> None:
    """With the cause removed, the targets are made with the bytes they had before, and nothing
    else has to be made.
    """
    clone.run("snakemake", "--cores", "2", "--quiet", "all", "--", *targets)
    assert clone.hashes() == before
    assert clone.planned() == {}


def test_a_changed_raw_file_is_refused_and_the_prepared_data_stay(finished: Clone) -> None:
    raw = finished.path / "data/raw/digits/digits.csv.gz"
    content = raw.read_bytes()
    before = finished.hashes()
    changed = bytearray(content)
    changed[1000] ^= 1
    raw.write_bytes(bytes(changed))
    code, printed = finished.attempt("snakemake", "--cores", "1")
    assert code != 0
    assert "sha256 is" in printed
    assert "expected 09f66e6d" in printed
    assert "prepare_data" in finished.planned()
    raw.write_bytes(content)
    assert finished.hashes() == before
    recover(finished, before, "prepared")


def test_a_clone_runs_its_own_code_and_a_failing_step_keeps_the_old_page(finished: Clone) -> None:
    """Both clones share one installed environment, whose package is a third tree."""
    before = finished.hashes()
    file, line = "src/bnblind/pipeline/steps/index.py", "    page = fill("
    finished.edit(file, line, f"    raise OSError('code of this clone')\n{line}")
    code, printed = finished.attempt("snakemake", "--cores", "1")
    assert code != 0
    assert "error: code of this clone" in printed
    assert finished.hashes() == before
    assert finished.planned() == {"index": 1}
    finished.edit(file, "    raise OSError('code of this clone')\n", "")
    recover(finished, before)


def test_a_diverging_run_names_itself_and_is_tried_again(finished: Clone) -> None:
    """The old results stay, but they do not pass for those of the new learning rate's settings."""
    before = finished.hashes()
    finished.edit("config/config.yaml", "weight_decay: 0.01", "weight_decay: 1.0e+30")
    code, printed = finished.attempt("snakemake", "--cores", "2", "--keep-going", "--", LISTING)
    assert code != 0
    assert "error: digits head bn random lr 0.01 seed 0 epoch 1 step" in printed
    assert finished.hashes() == before
    assert finished.planned()["train_classification"] == 2
    finished.edit("config/config.yaml", "weight_decay: 1.0e+30", "weight_decay: 0.01")
    recover(finished, before, LISTING)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "model: head\n    norms: [bn, ln]",
            "model: head\n    norms: [bm, ln]",
            "digits-head.norms[0]: found 'bm'; allowed: bn, ",
        ),
        (
            "epochs: 1\n    snapshots",
            "epoch: 1\n    snapshots",
            "classification.digits-head: unknown key 'epoch'; allowed:",
        ),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(
    finished: Clone, old: str, new: str, message: str
) -> None:
    before = finished.hashes()
    finished.edit("config/config.yaml", old, new)
    try:
        code, printed = finished.attempt("snakemake", "--cores", "1")
    finally:
        finished.edit("config/config.yaml", new, old)
    assert code != 0
    assert message in printed
    assert "Traceback" not in printed
    assert finished.hashes() == before


def test_an_interrupted_run_leaves_nothing_half_written_and_goes_on(finished: Clone) -> None:
    before = finished.hashes()
    finished.edit("config/config.yaml", "momentum: 0.9", "momentum: 0.8")
    process = finished.start("snakemake", "--cores", "1", "--", LISTING)
    wait_for(lambda: running(finished, "train\0"))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert not list(finished.path.rglob("*.partial"))
    # The running job may still end: a job's weights and results change together or not at all.
    changed = [Path(file) for file, found in finished.hashes().items() if found != before[file]]
    assert sorted(f.suffix for f in changed) in ([], [".parquet", ".safetensors"])
    assert len({file.stem for file in changed}) <= 1
    assert finished.planned()["train_classification"] >= 1
    finished.edit("config/config.yaml", "momentum: 0.8", "momentum: 0.9")
    recover(finished, before, LISTING)


def test_a_job_whose_shell_was_killed_is_planned_again(finished: Clone) -> None:
    """It cannot say that it failed; Snakemake lives, and records the old results as new."""
    before = finished.hashes()
    finished.edit("config/config.yaml", "momentum: 0.9", "momentum: 0.8")
    process = finished.start("snakemake", "--cores", "1", "--keep-going", "--", LISTING)
    wait_for(lambda: running(finished, "train\0"))
    step = running(finished, "train\0")[0]
    shell = int(re.search(r"^PPid:\t(\d+)", status_of(step), re.MULTILINE)[1])
    assert (Path(f"/proc/{shell}") / "comm").read_text() == "bash\n"
    for killed in (shell, step):
        os.kill(killed, signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert finished.planned("--", LISTING)["train_classification"] == 1
    finished.edit("config/config.yaml", "momentum: 0.8", "momentum: 0.9")
    recover(finished, before, LISTING)


def test_a_killed_snakemake_cannot_make_a_failed_jobs_old_results_pass_for_new(
    finished: Clone,
) -> None:
    """Snakemake records the outputs of a failed job; killed, it gets no chance to take it back."""
    before = finished.hashes()
    finished.edit("config/config.yaml", "channels: 6", "channels: 7")
    finished.edit("config/config.yaml", "epochs: 1\n    snap", "epochs: 4000\n    snap")
    hindrance = finished.path / "data/results/theorems/.leak.parquet.partial"
    hindrance.mkdir()
    started = time.time()
    process = finished.start("snakemake", "--cores", "8", "--keep-going", "--", LEAK, LISTING)
    wait_for(lambda: "error: cannot write" in finished.log("theorems"))
    leak = finished.path / LEAK
    wait_for(lambda: leak.stat().st_mtime > started)  # Snakemake has put the old one back
    time.sleep(3)
    process.kill()
    for orphan in running(finished):
        os.kill(orphan, signal.SIGKILL)
    process.communicate(timeout=60)
    hindrance.rmdir()
    finished.run("snakemake", "--unlock")
    assert finished.hashes() == before
    assert finished.planned()["theorems"] == 1
    finished.edit("config/config.yaml", "channels: 7", "channels: 6")
    finished.edit("config/config.yaml", "epochs: 4000\n    snap", "epochs: 1\n    snap")
    recover(finished, before, LEAK, LISTING)


def test_a_truncated_model_file_is_named_and_nothing_else_is_lost(finished: Clone) -> None:
    weights = finished.path / "data/models/classification/digits-head/bn.safetensors"
    content = weights.read_bytes()
    before = finished.hashes()
    weights.write_bytes(content[:1000])
    code, printed = finished.attempt("snakemake", "--cores", "1")
    assert code != 0
    assert "bn.safetensors was altered or cut off: found 1000 bytes" in printed
    weights.write_bytes(content)
    assert finished.hashes() == before
    recover(finished, before, "analysed", LISTING)


def test_a_failure_is_explained_in_quiet_mode_too(finished: Clone) -> None:
    """As `make reproduce` and the DVC stages run it."""
    before = finished.hashes()
    trained = "batchings: [random, label]\n    learning_rates: [0.01]"
    finished.edit("config/config.yaml", trained, trained.replace("0.01", "1.0e+29"))
    try:
        code, printed = finished.attempt(
            "snakemake", "--cores", "2", "--quiet", "rules", "host", "--", LISTING
        )
    finally:
        finished.edit("config/config.yaml", trained.replace("0.01", "1.0e+29"), trained)
    assert code != 0
    assert re.search(r"error: digits head \w+ random lr 1e\+29 seed 0 epoch 1 step \d+: ", printed)
    recover(finished, before, LISTING)


def test_a_profile_without_its_name_is_refused_and_not_mixed_with_the_default(
    finished: Clone,
) -> None:
    (finished.path / "config/mine.yaml").write_text("root: runs/mine\n")
    code, printed = finished.attempt("snakemake", "-n", "--configfile", "config/mine.yaml")
    (finished.path / "config/mine.yaml").unlink()
    assert code != 0
    assert "'profile' is a required property" in printed


def test_a_folder_of_the_users_own_is_looked_into_and_changes_no_plan(
    workspace: Clone, tmp_path: Path
) -> None:
    """A wrong file there is refused by its path, though an installed package has the right one."""
    raw = "data/raw/digits/digits.csv.gz"
    own = tmp_path / "own"
    own.mkdir()
    words = ("snakemake", "--cores", "1", "--config", f"data_dir={own}", "--", raw)
    workspace.run(*words)
    right = (workspace.path / raw).read_bytes()
    (own / "digits.csv.gz").write_bytes(right[:-1])
    assert "Nothing to be done" in workspace.run(*words)
    (workspace.path / raw).unlink()
    code, printed = workspace.attempt(*words)
    assert code == 1
    assert f"{own}/digits.csv.gz: sha256 is" in printed
    (own / "digits.csv.gz").write_bytes(right)
    workspace.run(*words)
    assert (workspace.path / raw).read_bytes() == right
    log = (workspace.path / "logs/export_data/digits-digits.csv.gz.log").read_text()
    assert f"from {own}/digits.csv.gz" in log
