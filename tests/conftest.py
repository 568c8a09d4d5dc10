"""Shared by all tests: one thread, reproducible hypothesis, the real digits, fresh interpreters."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
import yaml

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.preparation import read_images, split_dataset
from bnblind.numerics import environment
from bnblind.pipeline.steps.export_data import fetch

ROOT = Path(__file__).parents[1]

torch.set_num_threads(1)
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, max_examples=60
)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def registered() -> dict[str, Any]:
    """The registry's entry for the digits."""
    return yaml.safe_load((ROOT / "config/datasets.yaml").read_text())["digits"]


@pytest.fixture(scope="session")
def digits_images(registered: dict[str, Any]) -> tuple[Any, Any]:
    """All images (1797, 1, 8, 8) and labels of the digits, unscaled."""
    return read_images("digits", fetch(registered["source"]))


@pytest.fixture(scope="session")
def digits(digits_images: tuple[Any, Any]) -> Dataset:
    return split_dataset(*digits_images, seed=0, validation=0.15, test=0.2)[0]


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    """Every figure stays in memory until it is closed."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_python() -> RunPython:
    """Run this interpreter with arguments, in a user's environment: nothing pinned."""
    pinned = environment("portable", 1)
    unpinned = {name: value for name, value in os.environ.items() if name not in pinned}

    def run(*args: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *args],
            cwd=ROOT,
            env={**unpinned, "PYTHONPATH": str(ROOT / "src"), **extra},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
