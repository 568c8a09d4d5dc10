"""Temporary clones of this repository that run the smoke profile as their default."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from bnblind.numerics import DEFAULT, environment
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.discovery import experiments

ROOT = Path(__file__).parents[2]
AUTHOR = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
SMOKE = read_yaml(ROOT / "config/smoke.yaml")
PAGES = {
    f"{name}_page": 1
    for name, experiment in experiments().items()
    if experiment.page and name in SMOKE | dict.fromkeys(*SMOKE["shows"].values())
}
"""Rule -> jobs of the experiments' notebooks."""


def rendered(plan: dict[str, int]) -> dict[str, int]:
    """With the pages of the notebooks that a plan executes."""
    pages = sum(rule.endswith("_page") for rule in plan)
    return {"render": pages} | plan if pages else plan


def user_environment(**extra: str) -> dict[str, str]:
    """A user's environment: this interpreter's programs on PATH, nothing pinned."""
    pinned = {*environment(DEFAULT, 1), "PYTHONPATH"}
    plain = {name: value for name, value in os.environ.items() if name not in pinned}
    programs = str(Path(sys.executable).parent)
    return {**plain, "PATH": f"{programs}{os.pathsep}{plain['PATH']}", **extra}


@dataclass
class Clone:
    """A copy of the working tree with its own git history."""

    path: Path
    environment: dict[str, str] = field(default_factory=user_environment)
    umask: int = -1

    def start(self, *command: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment,
            umask=self.umask,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def attempt(self, *command: str) -> tuple[int, str]:
        """Exit code and everything printed."""
        process = self.start(*command)
        printed, _ = process.communicate(timeout=600)
        return process.returncode, printed

    def on_terminal(self, *command: str) -> tuple[int, str]:
        """Exit code and everything shown on a terminal, but what only moves or colours."""
        shown, end = os.openpty()
        process = subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment,
            umask=self.umask,
            stdin=end,
            stdout=end,
            stderr=end,
            start_new_session=True,
        )
        os.close(end)
        printed = b""
        with suppress(OSError):  # nobody holds the other end
            while piece := os.read(shown, 65536):
                printed += piece
        os.close(shown)
        return process.wait(), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed.decode())

    def run(self, *command: str) -> str:
        """Everything printed by a command that must succeed."""
        code, printed = self.attempt(*command)
        assert code == 0, f"{' '.join(command)} exited with {code}:\n{printed}"
        return printed

    def planned(self, *options: str) -> dict[str, int]:
        """Rule -> number of its jobs that Snakemake would run; the default targets not counted."""
        printed = self.run("snakemake", "--dry-run", "--quiet", "host", *options)
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", printed, re.DOTALL | re.MULTILINE)
        if table is None:
            assert "Nothing to be done" in printed, printed
            return {}
        counts = dict(line.split() for line in table.group(1).splitlines() if line.strip())
        return {rule: int(n) for rule, n in counts.items() if rule not in ("all", "report")}

    def outputs(self) -> list[Path]:
        """Everything under data/ and reports/ but the README files, relative to the clone."""
        return sorted(
            file.relative_to(self.path)
            for folder in ("data", "reports")
            for file in (self.path / folder).rglob("*")
            if file.is_file() and file.name != "README.md"
        )

    def hashes(self) -> dict[str, str]:
        return {
            str(file): hashlib.sha256((self.path / file).read_bytes()).hexdigest()
            for file in self.outputs()
        }

    def log(self, rule: str) -> str:
        """What the rule's job has printed so far."""
        path = self.path / f"logs/{rule}.log"
        return path.read_text() if path.exists() else ""

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace the one occurrence of ``old``."""
        path = self.path / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))


def make_clone(path: Path, **settings: object) -> Clone:
    """Copy what git would commit here, with the smoke profile as the default one."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    for name in listed:
        if name != "dvc.lock" and (ROOT / name).is_file():
            target = path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    smoke = (path / "config/smoke.yaml").read_text()
    default = smoke.replace("profile: smoke", "profile: quick").replace(
        "root: runs/smoke", 'root: "."'
    )
    (path / "config/config.yaml").write_text(default)
    clone = Clone(path, **settings)  # type: ignore[arg-type]
    clone.run("git", "init", "--quiet")
    clone.run("git", "add", "--all")
    clone.run("git", *AUTHOR, "commit", "--quiet", "--message", "clone")
    return clone


def commit_hashes(clone: Clone) -> None:
    """Commit ``dvc.lock``."""
    clone.run("git", "add", "dvc.lock")
    clone.run("git", *AUTHOR, "commit", "--quiet", "--message", "hashes")


def copy_of(clone: Clone, path: Path) -> Clone:
    """A copy of a finished clone, with all that Snakemake knows of it."""
    shutil.copytree(clone.path, path, symlinks=True)  # keeps modification times
    return replace(clone, path=path, environment={**clone.environment})
