"""People's machines: without a network, without git or its history, where /dev/shm cannot be
written, and with nothing but the packages that README.md names.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.helpers.clones import AUTHOR, Clone, user_environment
from tests.helpers.commit import TURN
from tests.helpers.machines import namespace, path_without

NO_HISTORY = "without git or its history the receipt names no commit"
RECEIPT = ("env", "PYTHONPATH=src", "python", "-m", "bnblind", "receipt")
RUN = ("make", "--old-file=env", "run")
"""In the environment of the tests."""


@pytest.mark.skipif(not namespace("--net"), reason="needs a network namespace (unshare)")
def test_a_run_speaks_to_no_network_and_needs_no_git(first: Clone, second: Clone) -> None:
    beside = second.path.parent
    interfaces = (beside / "network").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert " 0" * 8 in " ".join(interfaces[0].split()), "not even to itself"
    assert (beside / "git").read_text() == ""
    assert second.hashes() == first.hashes()


def without_git(clone: Clone, folder: Path) -> Clone:
    clone.environment["PATH"] = path_without("git", clone.environment["PATH"], folder)
    return clone


def test_a_downloaded_tree_without_history(finished: Clone, tmp_path: Path) -> None:
    """Unpacked inside another's repository, whose commit is not the tree's."""
    shutil.rmtree(finished.path / ".git")
    outer = Clone(tmp_path)
    outer.run("git", "init", "--quiet")
    outer.run("git", *AUTHOR, "commit", "--quiet", "--allow-empty", "--message", "another")
    assert finished.run("git", "rev-parse", "HEAD")

    printed = finished.run(*RUN)
    assert "Nothing to be done" in printed
    assert printed.count("No .git here: dvc repro, which needs it, is left out.") == 1
    total = len(finished.outputs())
    finished.run(*RECEIPT, "--record")
    printed = finished.run(*RECEIPT)
    assert printed.count(NO_HISTORY) == 1
    assert f"{total} of {total} files identical to the published record" in printed


def test_a_machine_without_git(finished: Clone, tmp_path: Path) -> None:
    clone = without_git(finished, tmp_path / "programs")
    assert clone.attempt("sh", "-c", "command -v git")[0] != 0
    assert not (clone.path / "dvc.lock").exists()
    printed = clone.run(*RUN)
    assert "Nothing to be done" in printed
    assert (clone.path / "dvc.lock").exists()
    clone.run(*RECEIPT, "--record")
    assert clone.run(*RECEIPT).count(NO_HISTORY) == 1
    assert "nothing is removed without git" in clone.run("python", "scripts/prune.py", "config")


CHOICES = ("--data", "digits", "--batching", "random")
READ_ONLY = 'mount -t tmpfs -o ro,size=4k none /dev/shm && exec "$@"'


@pytest.mark.starts_interpreter
@pytest.mark.skipif(not namespace("--mount"), reason="needs a mount namespace (unshare)")
@pytest.mark.parametrize("kind", ["command", "step"])
def test_a_refusal_is_one_error_where_shared_memory_is_read_only(
    kind: str, registered: dict[str, Any], tmp_path: Path
) -> None:
    """Where joblib, once it is imported, warns of it."""
    file = {**registered["files"]["digits.csv.gz"], "sha256": "0" * 64}
    known = ("--dataset", "digits", "--registered", json.dumps(file))
    words = {
        "command": ("bnblind", "probe", "--model", "torch.nn:Flatten", *CHOICES),
        "step": ("bnblind.pipeline", "export_data", *known, "--raw", "raw.gz"),
    }

    def errors(*command: str) -> list[str]:
        return subprocess.run(
            [*namespace("--mount"), "sh", "-c", READ_ONLY, "sh", sys.executable, *command],
            cwd=tmp_path,
            env=user_environment(PYTHONPATH=str(ROOT / "src")),
            capture_output=True,
            text=True,
            check=False,
        ).stderr.splitlines()

    assert "joblib will operate in serial mode" in errors("-c", "import joblib")[0]
    said = [line for line in errors("-m", *words[kind]) if not line.startswith("  ")]
    assert [line.partition(" ")[0] for line in said] == ["error:"]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mmdebstrap") is None or not namespace("--mount", "--pid"),
    reason="needs root, mmdebstrap and namespaces",
)
@pytest.mark.skipif(
    TURN != "fresh machine",
    reason="takes ten minutes: every third commit, by its hash; `make fresh-machine` at any time",
)
def test_a_fresh_machine_makes_the_same_bytes(finished: Clone, tmp_path: Path) -> None:
    """A minimal Debian, an ordinary user, the packages that README.md names: from clone to DVC."""
    finished.environment["TMPDIR"] = str(tmp_path)
    process = finished.start("bash", "scripts/fresh_machine.sh", "run")
    printed, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, printed
    made = Clone(finished.path / "runs/fresh-machine")
    assert made.hashes() == finished.hashes()
    assert not [*tmp_path.glob("fresh-machine.*")]
