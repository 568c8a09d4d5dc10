"""The library's tests with the oldest torch and with the newest Python that it supports.

python scripts/versions.py FOLDER

makes an environment of each below FOLDER, runs what concerns the library in it and writes what
passed into docs/library.md. All else is as in requirements.lock. It goes on where it was: a line of
FOLDER/tried.json that is of the present code is not tried again. Needs uv, which finds Python or
fetches it, and 6 GB for each environment while it is at work.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from documents import table, with_part

TRIED = (("3.11", "2.11.0", "0.26.0"), ("3.13", "2.15.0", "0.29.2"))
"""Python, torch and the torchvision that goes with it; the first torch is the oldest allowed."""

NEEDED = (
    *("pytest", "hypothesis", "threadpoolctl", "pyyaml", "pandas", "numpy", "matplotlib"),
    *("seaborn", "scikit-learn", "scipy", "pooch", "safetensors", "pyarrow", "jsonschema"),
    *("networkx", "psutil"),
)
"""What the library's tests import, beside torch and torchvision."""

TESTS = ("tests/library", "--ignore=tests/library/test_numerics.py")
"""How the pipeline pins its numerics concerns the locked torch alone."""

LOCK, PAGE = Path("requirements.lock"), Path("docs/library.md")


def code() -> str:
    """A hash of what is tried."""
    files = sorted(
        path
        for folder in ("src/bnblind", "tests/library", "tests/helpers")
        for path in Path(folder).rglob("*.py")
    )
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def attempt(python: str, torch: str, torchvision: str, folder: Path) -> str:
    """The closing line of pytest."""
    venv, pins = folder / "venv", folder / "pins.txt"
    lines = re.findall(r"^([\w.-]+==[^ ;]+)", LOCK.read_text(), re.MULTILINE)
    pins.write_text("".join(f"{line}\n" for line in lines if line.partition("==")[0] in NEEDED))
    subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", python, venv], check=True)
    wanted = (f"torch=={torch}", f"torchvision=={torchvision}", *NEEDED)
    options = ("--quiet", "--python", str(venv), "--constraint", str(pins))
    subprocess.run(["uv", "pip", "install", *options, *wanted], check=True)
    command = [str(venv / "bin/python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(venv)
    if ended.returncode:
        print(ended.stdout[-10_000:])
    return ended.stdout.splitlines()[-1].strip("= ").partition(" in ")[0]


def document(found: dict[str, str]) -> str:
    """docs/library.md with these lines in its table."""
    oldest = TRIED[0][1].rpartition(".")[0]
    told = (
        f"It works with torch {oldest} or newer; `make versions` runs the library's tests with the "
        "oldest, and\nwith the newest Python (3.12 is allowed, and not tried):\n\n"
    )
    rows = [[python, torch, found[python]] for python, torch, _ in TRIED]
    part = told + "\n".join([*table(["Python", "torch", "tests"], rows), ""])
    return with_part(PAGE.read_text(), "versions", part, "<!-- {} -->\n", maker="versions")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    notes = folder / "tried.json"
    known: dict[str, str] = json.loads(notes.read_text()) if notes.exists() else {}
    if known.get("code") != code():
        known = {"code": code()}
    for python, torch, torchvision in TRIED:
        if python not in known:
            known[python] = attempt(python, torch, torchvision, folder)
            notes.write_text(json.dumps(known))
        print(python, torch, known[python], flush=True)
    PAGE.write_text(document(known))
    sys.exit(any("failed" in line or "error" in line for line in known.values()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
