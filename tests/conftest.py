"""Shared by all tests: one thread, reproducible hypothesis, the real digits, fresh interpreters."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
import yaml
from threadpoolctl import threadpool_limits
from torch import Tensor

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.preparation import read_samples, split_dataset
from bnblind.numerics import DEFAULT, environment
from bnblind.pipeline.sources import fetch

ROOT = Path(__file__).parents[1]

# timm, Lightning and twine, where `make peers` has put them; the locked packages come first.
sys.path.append(str(Path(sys.prefix) / "peers"))

# A shell lets its background jobs ignore Ctrl-C, and with them all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)
threadpool_limits(1)  # of NumPy's library; its threads wait for one another in small products
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, max_examples=60
)
hypothesis.settings.load_profile("repeatable")

MARKER = "starts_interpreter"
STARTING = {"run_python", "clones", "first", "second", "workspace", "reports", "installed_coq"}
"""Fixtures that start interpreters, or are for tests that do; ``reports`` asks for a clone by its
name only.
"""
LONGEST = ("machines", "portability", "proofs", "dvc", "profiles", "disk", "additions", "restore")
"""Modules whose tests come first, or one process would be at them when all others are done."""
EVENTS = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system"}
"""Python's audit events of a program that is started."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that starts an interpreter by a fixture; the longest tests come first."""
    names = [f"test_{name}.py" for name in LONGEST]
    items.sort(key=lambda item: names.index(item.path.name) if item.path.name in names else 99)
    for item in items:
        if STARTING & {*getattr(item, "fixturenames", ())}:
            item.add_marker(MARKER)


def command_words(args: Iterable[Any]) -> Iterator[str]:
    """The words of the command that an audit event tells of, wherever they stand."""
    for arg in args:
        if isinstance(arg, str | bytes | os.PathLike):
            yield from os.fsdecode(arg).split()
        elif isinstance(arg, list | tuple):
            yield from command_words(arg)


def is_interpreter(word: str) -> bool:
    """Whether it names Python, a script of it such as ``snakemake``, or Coq."""
    if re.fullmatch(r"python[0-9.]*|coq(c|top|chk)", Path(word).name):
        return True
    if (script := shutil.which(word)) is None:
        return False
    with Path(script).open("rb") as file:
        return re.match(rb"#!.*python", file.read(200), re.DOTALL) is not None


class Guard:
    """Fails a test that starts an interpreter without the marker, so that ``make check`` leaves
    out all that do. Sees every start there is, in fixtures as well.
    """

    test: pytest.Item | None = None

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event in EVENTS and self.test and not self.test.get_closest_marker(MARKER):
            for word in command_words(args[:2]):
                if is_interpreter(word):
                    pytest.fail(f"starts {word}; such a test needs the marker {MARKER}")


guard = Guard()
sys.addaudithook(guard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    guard.test = item
    try:
        return (yield)
    finally:
        guard.test = None


@pytest.fixture(scope="session")
def registered() -> dict[str, Any]:
    """The registry's entry for the digits."""
    return yaml.safe_load((ROOT / "config/datasets.yaml").read_text())["digits"]


@pytest.fixture(scope="session")
def digits_images(registered: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """All images (1797, 1, 8, 8), grey values, and labels of the digits."""
    ((name, file),) = registered["files"].items()
    return read_samples("digits", {name: fetch(file["sources"][0])})


@pytest.fixture(scope="session")
def digits(digits_images: tuple[Tensor, Tensor]) -> Dataset:
    return split_dataset(*digits_images, 17, seed=0, validation=0.15, test=0.2)[0]


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    """Every figure stays in memory until it is closed."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run_python() -> RunPython:
    """Run this interpreter with arguments, in a user's environment: nothing pinned."""
    pinned = environment(DEFAULT, 1)
    unpinned = {name: value for name, value in os.environ.items() if name not in pinned}

    def run(
        *args: str | Path, cwd: Path = ROOT, stdin: str = "", **extra: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, args)],
            cwd=cwd,
            env={**unpinned, "PYTHONPATH": str(ROOT / "src"), **extra},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
