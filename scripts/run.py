"""Run the pipeline in this folder, whatever an earlier run left behind.

    python scripts/run.py [SNAKEMAKE'S WORDS]

One run at a time works in a folder. Jobs that an earlier run left at work are waited for, by their
pids; a lock that a dead Snakemake left is taken away. Another user's run, or another host's, is
refused by name.
"""

import argparse
import fcntl
import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import psutil

sys.path.insert(0, "src")

from bnblind.pipeline.__main__ import JOBS
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.preflight import memory
from bnblind.pipeline.usage import usage_of
from bnblind.review import add_profile
from bnblind.review.machine import usable_cache
from bnblind.review.plan import expected, planned

STATE = JOBS.parent
RUN = STATE / "bnblind-run.lock"
"""Held by this script while it runs, with what it says of itself."""
JOB = r"-m (bnblind\.pipeline|ipykernel_launcher .*/kernel\.json)( |$)"
"""The command of a job, or of the kernel of a page that is made; its shell's as well."""


def this_run() -> dict[str, Any]:
    return {"host": socket.gethostname(), "user": getpass.getuser(), "pid": os.getpid()}


def described(run: dict[str, Any]) -> str:
    return f"pid {run['pid']} of {run['user']} on {run['host']}"


@contextmanager
def only_run() -> Iterator[None]:
    """Hold this folder.

    Raises:
        SystemExit: another run holds it, or one of another host may do so.
    """
    STATE.mkdir(exist_ok=True)
    try:
        file = RUN.open("a+", encoding="utf-8")
    except PermissionError as error:
        owner = RUN.owner() if RUN.exists() else STATE.owner()
        raise SystemExit(
            f"error: {RUN} is of the user {owner}; run in a clone of your own"
        ) from error
    with file:
        file.seek(0)
        try:
            earlier = {**this_run(), **json.loads(file.read())}
        except (ValueError, TypeError):  # empty, or a disk was full
            earlier = this_run()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SystemExit(f"error: another run is at work here, {described(earlier)}") from error
        if earlier["host"] != socket.gethostname():
            raise SystemExit(
                f"error: a run may be at work here, {described(earlier)}; if not, delete {RUN}"
            )
        file.truncate(0)
        file.write(json.dumps(this_run()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def at_work(command: str) -> list[int]:
    """The processes of this folder with such a command, a regular expression."""
    here, found = str(Path.cwd()), []
    for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
        if process.info["cwd"] == here and re.search(
            command, " ".join(process.info["cmdline"] or [])
        ):
            found.append(process.info["pid"])
    return sorted(found)


def wait_for_orphans() -> None:
    """Until no job of an earlier run holds the jobs' lock, or has started and is about to."""
    told: list[int] = []
    with JOBS.open("a") as file:
        while (pids := at_work(JOB)) or held(file):
            if new := [pid for pid in pids if pid not in told]:
                print(f"waiting for jobs that an earlier run left at work: pids {new}", flush=True)
                told += new
            time.sleep(0.5)


def held(file: TextIO) -> bool:
    """Whether another process holds its lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def run(*command: str) -> None:
    """Run a command, with the signals that come; exits as it does if it fails."""
    with subprocess.Popen(command) as process:

        def forward(number: int, _: FrameType | None) -> None:
            process.send_signal(number)

        # Ctrl-C reaches the command from the terminal; it ends the jobs and itself.
        signal.signal(signal.SIGINT, lambda number, frame: None)
        signal.signal(signal.SIGTERM, forward)
        code = process.wait()
    if code:
        raise SystemExit(130 if code == -signal.SIGINT else abs(code))


def check_clock() -> None:
    """Snakemake goes by times: it would miss what is edited before those of the results.

    Raises:
        SystemExit: the clock was set back since some of them were made.
    """
    files = (file for folder in ("data", "reports", "runs") for file in Path(folder).rglob("*"))
    if late := [file for file in files if file.stat().st_mtime > time.time() + 60]:
        raise SystemExit(
            f"error: results of a later time than now: {len(late)}, such as {late[0]}; set the "
            "clock right, or delete them"
        )


def say_how_long(options: list[str]) -> None:
    """About how long the jobs take that Snakemake would run; why it cannot plan, the run says."""
    parser = argparse.ArgumentParser(add_help=False)
    add_profile(parser)
    parser.add_argument("--cores", default="1")
    asked, _ = parser.parse_known_args(options)
    plan = subprocess.run(["snakemake", "--dry-run", *options], capture_output=True, text=True)
    if plan.returncode == 0 and (jobs := [*planned(plan.stdout)]):
        cores = len(os.sched_getaffinity(0)) if asked.cores == "all" else int(asked.cores)
        usage = usage_of(read_yaml(asked.configfile)["profile"])
        print(expected(jobs, usage, cores), flush=True)


def bound_on_memory(options: list[str]) -> list[str]:
    """What jobs at work at once may ask for together: this machine's memory, unless the user says
    what, or the jobs run elsewhere. A job that asks for more runs alone.
    """
    own = {"--resources", "--res", "--executor", "-e", "--workflow-profile"}
    if own & {option.partition("=")[0] for option in options}:
        return []
    return ["--resources", f"mem_mb={int(memory())}"]


def main(options: list[str]) -> None:
    with only_run():
        check_clock()
        usable_cache()
        if others := at_work("(bin/|-m )snakemake "):
            raise SystemExit(f"error: snakemake is at work here already: pids {others}")
        wait_for_orphans()
        if any((STATE / "locks").glob("*")):
            print("a lock of a dead Snakemake is taken away", flush=True)
            run("snakemake", "--unlock", "--quiet", "all", *options)
        say_how_long(options)
        shown = ("--logger", "rich") if sys.stderr.isatty() else ("--quiet", "rules", "host")
        run("snakemake", *bound_on_memory(options), *shown, *options)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OSError as error:
        raise SystemExit(f"error: {error.filename or STATE}: {error.strerror}") from error
