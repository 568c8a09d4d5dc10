"""``workflow/timed.py`` leaves the command the time to stop."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

COMMAND = """
import sys, time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1)
    print("unlocked", flush=True)
    sys.exit(3)
"""


def test_ctrl_c_waits_for_the_command(tmp_path: Path) -> None:
    """As Ctrl-C in a terminal: to the whole group of processes. Snakemake needs a moment to take
    its lock away.
    """
    log = tmp_path / "timed.json"
    process = subprocess.Popen(
        [sys.executable, ROOT / "workflow/timed.py", log, sys.executable, "-c", COMMAND],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job, as these tests may be, has SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=30)
    assert printed == "unlocked\n"
    assert process.returncode == 3
    assert json.loads(log.read_text())["code"] == 3
    assert "Traceback" not in errors
