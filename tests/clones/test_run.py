"""``make run`` in a folder that an earlier run, another one or a poor machine left in any state."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.helpers.clones import Clone, make_clone, user_environment
from tests.helpers.scripts import import_script

pytestmark = pytest.mark.starts_interpreter
faults, run_script = import_script("faults"), import_script("run")
TARGET = "data/results/theorems/passing.parquet"
RUN = ("python", "scripts/run.py", "--cores", "1", TARGET)
JOB = """
import fcntl, sys, time
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_SH)
print("held", flush=True)
time.sleep(600)
"""
"""A process that holds the jobs' lock, as an orphan does."""


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    found = make_clone(tmp_path / "clone", environment=user_environment(PYTHONPATH="src"))
    (found.path / ".snakemake").mkdir()
    return found


@contextmanager
def orphan(clone: Clone, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """The lock that it holds, and words by which its command is known."""
    command = [sys.executable, "-c", JOB, *words]
    process = subprocess.Popen(command, cwd=clone.path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def started(clone: Clone, target: str) -> tuple["subprocess.Popen[bytes]", psutil.Process]:
    """A run, and the first of its steps, at work."""
    run = faults.start(clone.path, ("--cores", "1", target))
    deadline = time.monotonic() + 120
    while (step := faults.below(run, faults.STEP)) is None:
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return run, step


@pytest.mark.parametrize(
    "words",
    [
        (".snakemake/bnblind-jobs.lock", "-m bnblind.pipeline train"),
        (os.devnull, "-m bnblind.pipeline train"),
        (os.devnull, "-m ipykernel_launcher --log-level=CRITICAL -f x/kernel.json"),
    ],
    ids=["at work", "about to begin", "kernel of a page"],
)
def test_a_job_that_an_earlier_run_left_is_named_and_waited_for(
    words: tuple[str, ...], clone: Clone
) -> None:
    with orphan(clone, *words) as job:
        run = clone.start(*RUN)
        assert run.stdout is not None
        line = run.stdout.readline()
        assert line == f"waiting for jobs that an earlier run left at work: pids [{job.pid}]\n"
        time.sleep(2)
        assert run.poll() is None
        assert not (clone.path / TARGET).exists()
        job.kill()
        job.wait()
        printed, _ = run.communicate(timeout=300)
    assert run.returncode == 0, printed
    assert (clone.path / TARGET).exists()


def test_a_job_is_waited_for_by_its_lock_alone(clone: Clone) -> None:
    """Another user's, whose command and folder cannot be seen."""
    with orphan(clone, ".snakemake/bnblind-jobs.lock", "unseen") as job:
        run = clone.start(*RUN)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(timeout=4)
        job.kill()
        job.wait()
        printed, _ = run.communicate(timeout=300)
    assert run.returncode == 0, printed


def test_a_second_run_is_refused_and_names_the_first(clone: Clone) -> None:
    with orphan(clone, os.devnull, "-m bnblind.pipeline train"):
        run = clone.start(*RUN)
        assert run.stdout is not None
        run.stdout.readline()
        code, printed = clone.attempt(*RUN)
        assert code == 1
        assert printed.startswith(f"error: another run is at work here, pid {run.pid} of ")
        assert printed.endswith(f" on {socket.gethostname()}\n")
        run.terminate()
        run.communicate(timeout=60)


def test_a_run_of_another_host_is_refused_by_name(clone: Clone) -> None:
    lock = clone.path / ".snakemake/bnblind-run.lock"
    lock.write_text('{"host": "node7", "user": "someone", "pid": 41}')
    code, printed = clone.attempt(*RUN)
    assert code == 1
    assert printed == (
        "error: a run may be at work here, pid 41 of someone on node7; if not, delete "
        ".snakemake/bnblind-run.lock\n"
    )


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"pid": 1}'])
def test_a_damaged_note_of_an_earlier_run_is_none(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a run leaves no note of itself, also if it fails."""
    monkeypatch.chdir(tmp_path)
    script = import_script("run")
    script.STATE.mkdir()
    script.RUN.write_text(text)
    with script.only_run():
        assert json.loads(script.RUN.read_text()) == script.this_run()
    assert script.RUN.read_text() == ""
    with pytest.raises(SystemExit), script.only_run():
        raise SystemExit(1)
    assert script.RUN.read_text() == ""


def test_the_lock_of_a_dead_snakemake_is_taken_away(clone: Clone) -> None:
    """It was killed with all its jobs; Snakemake itself would refuse to go on."""
    run, step = started(clone, TARGET)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    step.wait(timeout=60)
    assert list((clone.path / ".snakemake/locks").iterdir())
    assert clone.attempt("snakemake", "--cores", "1", TARGET)[0] != 0
    printed = clone.run(*RUN)
    assert "a lock of a dead Snakemake is taken away" in printed
    assert (clone.path / TARGET).exists()


def test_ctrl_c_ends_everything_without_a_traceback(clone: Clone) -> None:
    run, step = started(clone, TARGET)
    assert step.is_running()
    assert step.name().startswith("python"), "the step itself, not the shell that calls it"
    while step.cpu_times().user < 0.2:  # Python itself, as it starts, does say more
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(timeout=60) != 0
    assert not step.is_running()
    printed = (clone.path / "printed").read_text()
    assert "Traceback" not in printed
    assert not (clone.path / TARGET).exists()
    clone.run(*RUN)


def test_results_of_a_later_time_are_refused(clone: Clone) -> None:
    """The clock was set back: what is edited now would be older than they are."""
    clone.run(*RUN)
    later = time.time() + 86400
    os.utime(clone.path / TARGET, (later, later))
    code, printed = clone.attempt(*RUN)
    assert code == 1
    assert printed.startswith(f"error: results of a later time than now: 1, such as {TARGET};")


def test_dvc_repro_beside_a_run_is_refused_and_harms_nothing(clone: Clone) -> None:
    prepared = "data/prepared/digits.safetensors"
    run, step = started(clone, prepared)
    step.suspend()
    code, printed = clone.attempt("dvc", "repro", "data")
    assert code != 0
    assert "LockException" in printed
    step.resume()
    assert run.wait(timeout=300) == 0
    assert (clone.path / prepared).exists()
    clone.run("dvc", "repro", "data")


def test_a_job_that_ends_is_one_line_and_the_time_is_said_first(clone: Clone) -> None:
    """Elsewhere than on a terminal; the log file has all."""
    lines = clone.run(*RUN).splitlines()
    assert re.match(
        r"jobs to run: \d+, which took \d+ CPU-seconds in the published run; ", lines[0]
    )
    number = int(lines[0].split()[3].rstrip(","))
    told = [line for line in lines if re.search(r" of \d+ steps |[Ss]elect|Execute|Finished", line)]
    assert [line.partition(" (")[0] for line in told] == [
        f"{done} of {number} steps" for done in range(1, number + 1)
    ]
    (log,) = (clone.path / ".snakemake/log").iterdir()
    assert log.read_text().count("Finished jobid: ") == number


def test_jobs_at_once_ask_for_no_more_memory_than_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_script, "memory", lambda: 2000.5)
    assert run_script.bound_on_memory(["--cores", "2"]) == ["--resources", "mem_mb=2000"]
    for own in (["--resources", "mem_mb=9"], ["--workflow-profile=profiles/slurm"], ["-e", "x"]):
        assert run_script.bound_on_memory(own) == []


def test_a_terminal_is_shown_bars_and_the_log_of_a_job_that_fails(finished: Clone) -> None:
    run = ("python", "scripts/run.py", "--cores", "1")
    file, line = "src/bnblind/pipeline/steps/index.py", "    page = fill("
    finished.edit(file, line, f"    raise OSError('code of this clone')\n{line}")
    code, shown = finished.on_terminal(*run)
    assert code == 1
    assert "Failed index" in shown
    assert "error: code of this clone" in shown.partition("Failed index")[2]
    finished.edit(file, f"    raise OSError('code of this clone')\n{line}", line)
    code, shown = finished.on_terminal(*run)
    assert code == 0
    assert shown.startswith("jobs to run: 1, which took ")
    assert re.search("Total Progress .* 100%", shown)
    assert "Select jobs" not in shown


ORDINARY = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
"""What a root without its powers may do is what an ordinary user may, in files of his own."""
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


@only_root
def test_another_users_folder_is_refused_by_name(clone: Clone) -> None:
    lock = clone.path / ".snakemake/bnblind-run.lock"
    lock.touch(mode=0o600)
    shutil.chown(lock, "daemon")
    code, printed = clone.attempt(*ORDINARY, *RUN)
    assert code == 1
    assert printed == (
        "error: .snakemake/bnblind-run.lock is of the user daemon; run in a clone of your own\n"
    )


@only_root
def test_a_home_that_cannot_be_written_and_no_terminal(clone: Clone, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    poor = replace(clone, environment=clone.environment | {"HOME": str(home)})
    poor.environment.pop("XDG_CACHE_HOME", None)
    closed = replace(poor, environment=poor.environment | {"HOME": str(home / "within")})
    code, printed = poor.attempt(*ORDINARY, "snakemake", "--cores", "1", "-n", TARGET)
    assert code != 0, "the fault hits Snakemake itself"
    printed = poor.run(*ORDINARY, "setsid", "--wait", *RUN)
    assert "Traceback" not in printed
    assert (clone.path / TARGET).exists()
    assert list(home.iterdir()) == []
    assert "contact_sheet" in poor.run(*ORDINARY, "python", "-m", "bnblind", "plan")
    home.chmod(0)  # not even to be entered
    assert "Nothing to be done" in closed.run(*ORDINARY, *RUN)


@pytest.mark.parametrize("kind", ["SIGKILL of Snakemake alone", "SIGKILL of the process group"])
def test_one_repetition_mends_a_kill(kind: str, first: Clone, tmp_path: Path) -> None:
    """A sample of `make faults`, on a part of the pipeline."""
    words = ("--cores", "1", "reports/pages/theorems.html")
    hashes = faults.hashes(first.path).items()
    expected = {name: found for name, found in hashes if "/theorems" in name}
    # While the page is drawn: a later kill would find a run of so few jobs at its end.
    points = {seed: faults.point(kind, seed, max(1, len(expected) // 6)) for seed in range(100)}
    drawing = [seed for seed, (jobs, pause) in points.items() if jobs == 1 and pause < 1.5]
    for seed in drawing[:5]:
        path = make_clone(tmp_path / str(seed)).path
        tried = faults.attempt(kind, seed, path, path, words, expected)
        if tried.hit:
            break
    assert tried.hit, "the process was alive and is dead, and the run did not finish"
    assert tried.repeated == 0
    assert tried.differing == ()
