"""What the steps' tests share: steps called in this process, jobs trained once, a plan."""

import copy
import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bnblind.experiments.datasets import Dataset
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.formats.prepared import dataset_bytes
from bnblind.pipeline.steps import train
from tests.conftest import ROOT, RunPython
from tests.steps.planning import Plan, make_plan

NETWORK = {
    **{"dataset": "digits", "model": "head", "norm": "ln", "batching": "label", "lr": 0.01},
    **{"batch_size": 64, "epochs": 2, "seeds": [4, 3], "snapshots": [1]},
    "optimizer": {"name": "sgd", "momentum": 0.9},
}
NETWORKS = [NETWORK, {**NETWORK, "batching": "random", "seeds": [3], "snapshots": []}]
FLOW = {
    **{"dataset": "digits", "pair": [9, 8], "coupling": "mlp", "couplings": 2},
    **{"width": 8, "depth": 1, "constraint": 0.9, "norm": "bn", "coupling_norm": "none"},
    **{"batching": "label", "lr": 0.001, "optimizer": {"name": "adamax"}, "batch_size": 64},
    **{"scale_regularization": 5e-5, "epochs": 2, "patience": 2, "mixtures": 8, "samples": 4},
    "seeds": [4, 3],
}
FLOWS = [FLOW, {**FLOW, "pair": [1, 0], "seeds": [4]}]


def call(step: ModuleType, **options: Any) -> None:
    """Call a step as its command line would: dicts, and lists of them, travel as JSON."""
    words: list[str] = []
    for name, value in options.items():
        as_json = isinstance(value, dict) or (
            isinstance(value, list) and isinstance(value[0], dict)
        )
        values = value if isinstance(value, list) and not as_json else [value]
        words += [f"--{name}", *(json.dumps(v) if as_json else str(v) for v in values)]
    step.main(words)


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def train_in(folder: Path, kind: str, cells: list[dict[str, Any]], *kept: str, **changes: Any):
    """Call the step ``train``; what it reads and writes lies in the folder, under its name."""
    files = {name: folder / name for name in ("prepared", "checkpoint", "results", *kept)}
    call(train, kind=kind, cells=cells, **{**files, **changes})


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    path = tmp_path_factory.mktemp("prepared") / "digits.safetensors"
    path.write_bytes(dataset_bytes(digits, {}))
    return path


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    """The folder of a job of networks: ``weights``, ``results``."""
    folder = tmp_path_factory.mktemp("networks")
    train_in(folder, "networks", NETWORKS, "weights", prepared=prepared)
    return folder


@pytest.fixture(scope="session")
def flows(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    """The folder of a job of flows: ``weights``, ``results``, ``samples``."""
    folder = tmp_path_factory.mktemp("flows")
    train_in(folder, "flows", FLOWS, "weights", "samples", prepared=prepared)
    return folder


@pytest.fixture(scope="session")
def published() -> dict[str, Any]:
    """The profile of the published results."""
    return read_yaml(ROOT / "config/config.yaml")


@pytest.fixture
def quick(published: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A copy of it to change; the test runs in the project's folder."""
    monkeypatch.chdir(ROOT)
    return copy.deepcopy(published)


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory, run_python: RunPython) -> Plan:
    """A run of every rule, planned by Snakemake."""
    return make_plan(tmp_path_factory.mktemp("plan"), run_python)
