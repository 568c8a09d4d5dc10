"""Portable numerics: the newest and the oldest x86-64 processor compute the same bytes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnblind.numerics import environment
from tests.helpers.clones import Clone, user_environment

OLD_PROCESSOR = ("qemu-x86_64", "-cpu", "Nehalem")
CELL = {
    "dataset": "digits",
    "model": "head",
    "norm": "bn",
    "batching": "label",
    "lr": 0.01,
    "batch_size": 64,
    "epochs": 1,
    "seeds": [0],
    "snapshots": [],
    "optimizer": {"name": "sgd", "momentum": 0.9},
}
PROBING = {"batchings": ["label", "random"], "batch_size": 32, "batches": 1}
TOY = {
    "norms": ["none", "bn", "ln"],
    **{"classes": 2, "inputs": 3, "features": 8, "batch_size": 4, "lr": 0.1, "steps": 6},
    "seeds": [0],
}
FLOW = {
    **{"dataset": "digits", "levels": 17, "pair": [9, 8], "coupling": "mlp", "couplings": 2},
    **{"width": 16, "depth": 1, "constraint": 0.9, "norm": "bn", "coupling_norm": "scalar"},
    **{"batching": "label", "lr": 0.001, "optimizer": {"name": "adamax"}, "batch_size": 64},
    **{"scale_regularization": 5e-5, "epochs": 2, "patience": 2, "mixtures": 8, "samples": 4},
    "seeds": [0],
}
CHECK = {
    "norms": ["bn", "ln"],
    "losses": ["quadratic", "logistic", "gaussian_nll", "softmax_relu", "softmax_gelu"],
    "points": ["zero", "random"],
    "batch_sizes": [8],
    "dims": [8],
    "eps": [1e-5],
    "seeds": [0],
    "leak": {"channels": 6, "batch_size": 16, "eps": [1e-5]},
}


ONE_PROCESS = """
import json, sys
from importlib import import_module
import torch
from bnblind import numerics
numerics.check("portable", 1)
for step, *words in json.loads(sys.argv[1]):
    import_module(f"bnblind.pipeline.steps.{step}").main(words)
"""
"""Steps one after the other; an emulated process takes half a minute to import torch."""


def run_steps(clone: Clone, folder: Path, *emulator: str) -> dict[str, bytes]:
    """A training step and an analysis step of the clone; every file that they wrote.

    The environment is set from outside: an emulated process that executes itself again would
    go on natively.
    """
    folder.mkdir()
    prepared = str(clone.path / "data/prepared/digits.safetensors")
    steps: list[tuple[str, dict[str, str]]] = [
        (
            "train",
            {
                "kind": "networks",
                "cells": json.dumps([CELL]),
                "prepared": prepared,
                **{name: name for name in ("checkpoint", "weights", "results")},
            },
        ),
        (
            "train",
            {
                "kind": "flows",
                "cells": json.dumps([FLOW]),
                "prepared": prepared,
                "checkpoint": "flow-checkpoint",
                **{name: f"flow-{name}" for name in ("weights", "results", "samples")},
            },
        ),
        (
            "split_networks",
            {
                "settings": json.dumps(PROBING),
                "prepared": prepared,
                **{name: name for name in ("weights", "terms", "blocked")},
            },
        ),
        (
            "measure_features",
            {
                "settings": json.dumps(
                    {"tsne": {"norms": [CELL["norm"]], "seed": 0, "samples": 40}}
                ),
                "prepared": prepared,
                **{name: name for name in ("weights", "measures", "plane")},
            },
        ),
        ("train_first_order_task", {"settings": json.dumps(TOY), "table": "table"}),
        (
            "check_theorems",
            {
                "settings": json.dumps(CHECK),
                **{name: name for name in ("passing", "errors", "leak", "metrics")},
            },
        ),
    ]
    commands = [
        [step, *(word for name, value in options.items() for word in (f"--{name}", value))]
        for step, options in steps
    ]
    subprocess.run(
        [*emulator, sys.executable, "-c", ONE_PROCESS, json.dumps(commands)],
        cwd=folder,
        env=user_environment(PYTHONPATH=str(clone.path / "src"), **environment("portable", 1)),
        check=True,
    )
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.suffix != ".lock"}


needs_emulator = pytest.mark.skipif(
    shutil.which(OLD_PROCESSOR[0]) is None, reason="needs qemu-x86_64 (Debian package qemu-user)"
)


@needs_emulator
@pytest.mark.starts_interpreter
def test_the_emulated_processor_has_no_avx() -> None:
    """So that the next test compares with something else than this machine."""
    code = "from numpy._core._multiarray_umath import __cpu_features__ as f; print(f['AVX'])"
    printed = subprocess.run(
        [*OLD_PROCESSOR, sys.executable, "-c", code],
        env=user_environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed.strip() == "False"


@needs_emulator
def test_a_processor_without_avx_computes_the_same_bytes(first: Clone, tmp_path: Path) -> None:
    native = run_steps(first, tmp_path / "native")
    emulated = run_steps(first, tmp_path / "emulated", *OLD_PROCESSOR)
    assert len(native) == 14
    assert emulated == native
