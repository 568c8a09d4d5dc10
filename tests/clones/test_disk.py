"""Every step on a disk that is full, or where its outputs cannot be written."""

import json
import subprocess
import sys
from pathlib import Path
from pkgutil import iter_modules

import pytest

from bnblind.pipeline import steps
from bnblind.review.whence import STEP, recorded
from tests.helpers.clones import Clone, user_environment
from tests.helpers.machines import namespace

MOUNTED = namespace("--mount")
pytestmark = pytest.mark.skipif(not MOUNTED, reason="mount namespaces are not permitted here")

PREPARE = """
mount -t tmpfs -o size=512m none "$1"
cp -r "$2/." "$1"
cd "$1"
case "$3" in
full) cat /dev/zero > filled 2> /dev/null || : ;;
read-only)
    for outputs in data reports; do
        mount --bind "$outputs" "$outputs"
        mount -o remount,ro,bind "$outputs"
    done ;;
esac
exec "$4" -c "$5"
"""
"""Arguments: the place, what to copy there, the fault, Python and its program."""

STEPS = """
import hashlib, json, subprocess, sys
from pathlib import Path

def state():
    files = (f for folder in ("data", "reports") for f in sorted(Path(folder).rglob("*")))
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}

before, told = state(), {}
for rule, command in json.loads(Path("commands.json").read_text()).items():
    ended = subprocess.run(command, shell=True, capture_output=True, text=True)
    told[rule] = [ended.returncode, ended.stdout, ended.stderr]
after = state()
try:
    Path("data/one byte").write_bytes(b"1")
    hit = False
except OSError:
    hit = True
changed = sorted({file for file, _ in before.items() ^ after.items()})
print(json.dumps({"hit": hit, "changed": changed, "told": told}))
"""
WORDS = {"full": "No space left on device", "read-only": "Read-only file system"}
EVERY = {module.name for module in iter_modules(steps.__path__)}
TRIED = {"full": EVERY, "read-only": {"prepare_data", "train", "notebook"}}
"""All write by one function; so of the second fault a sample."""


@pytest.mark.parametrize("fault", WORDS)
def test_a_step_ends_in_one_line_and_leaves_all_as_it_was(
    fault: str, finished: Clone, tmp_path: Path
) -> None:
    """One job of each step, called as Snakemake calls it, in a copy of a finished run."""
    printed = finished.run("snakemake", "--cores", "1", "--detailed-summary").splitlines()
    summary = recorded("\n".join(line for line in printed if "\t" in line))
    commands = {}
    for made in summary.values():
        if step := STEP.search(made["shellcmd"]):
            name = step[0].split("bnblind.pipeline ")[1].split()[0]
            commands.setdefault(name, step[0])
    assert set(commands) == EVERY
    tried = {name: command for name, command in commands.items() if name in TRIED[fault]}
    (finished.path / "commands.json").write_text(json.dumps(tried))
    place = tmp_path / "mounted"
    place.mkdir()
    words = ["sh", "-euc", PREPARE, "sh", str(place), str(finished.path), fault, sys.executable]
    ended = subprocess.run(
        [*MOUNTED, *words, STEPS],
        env=user_environment(PYTHONPATH="src"),
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["hit"], "not a byte can be written there"
    assert found["changed"] == []
    assert {*found["told"]} == TRIED[fault]
    for rule, (code, _, printed) in found["told"].items():
        assert code == 1, f"{rule}: {printed}"
        assert "Traceback" not in printed, f"{rule}: {printed}"
        # A kernel that is ended may say so before.
        lines = printed.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert errors == lines[-1:], f"{rule}: {printed}"
        assert WORDS[fault] in errors[0], rule
