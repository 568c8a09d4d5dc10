"""A training of each kind and each analysis step, run as on another processor.

    python scripts/other_processor.py x86-64-v3 EPYC SOURCE PREPARED FOLDER

runs the steps of the package below SOURCE on the data set PREPARED, under the numerics and on the
processor named, and leaves what they write in FOLDER; ``native`` is the present processor, others
are those of qemu-x86_64.
"""

import json
import os
import subprocess
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from bnblind.experiments.datasets import Dataset, Part
from bnblind.numerics import environment
from bnblind.pipeline.formats.prepared import dataset_bytes, read_dataset

NATIVE = "native"
PROCESSORS = {"x86-64-v2": ("Nehalem",), "x86-64-v3": ("Haswell", "EPYC")}
"""Level -> its oldest processors, of each maker, that qemu emulates."""

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
CONVOLUTIONS = {**CELL, "model": "conv", "batch_size": 200, "course": False, "seeds": [1]}
DEEP = [
    {
        **{**CELL, "model": model, "norm": norm, "width": width},
        **{"batching": "random", "batch_size": 8, "course": False},
    }
    for model, norm, width in (("vgg11", "gn", 2), ("resnet18", "ln", 8), ("densenet121", "bn", 1))
]
PROBING = {"batchings": ["label", "random"], "batch_size": 32, "batches": 1}
TOY = {
    "norms": ["none", "bn", "ln"],
    **{"classes": 2, "inputs": 3, "features": 8, "batch_size": 4, "lr": 0.1, "steps": 6},
    "seeds": [0],
}
FEATURES = {"tsne": {"norms": [CELL["norm"]], "seed": 0, "samples": 40}}
FLOW = {
    **{"dataset": "digits", "pair": [9, 8], "coupling": "mlp", "couplings": 2},
    **{"width": 16, "depth": 1, "constraint": 0.9, "norm": "bn", "coupling_norm": "scalar"},
    **{"batching": "label", "lr": 0.001, "optimizer": {"name": "adamax"}, "batch_size": 64},
    **{"scale_regularization": 5e-5, "epochs": 2, "patience": 2, "mixtures": 8, "samples": 4},
    "seeds": [0],
}
CONVOLUTIONAL = {**FLOW, "coupling": "conv", "couplings": 1, "width": 4, "norm": "ln", "epochs": 1}
GAN = {
    **{"dataset": "digits", "norm": "bn", "batching": "random", "feed": "apart", "width": 16},
    **{"latent": 4, "lr": 0.001, "optimizer": {"name": "adam"}, "batch_size": 64, "epochs": 2},
    **{"interval": 1, "samples": 4, "seeds": [0]},
}
FEDERATION = {
    **{"dataset": "digits", "model": "mlp", "norm": "bn_renorm", "batching": "random", "lr": 0.01},
    **{"classes_per_client": 1, "clients": 10, "batch_size": 16, "epochs": 1, "seeds": [0]},
    "optimizer": {"name": "sgd", "momentum": 0.9},
}
CHECK = {
    "norms": ["bn", "ln"],
    "losses": ["quadratic", "logistic", "gaussian_nll", "softmax_relu", "softmax_gelu"],
    "points": ["zero", "random"],
    "batch_sizes": [8],
    "dims": [8],
    "eps": [1e-5],
    "seeds": [0],
    "hessians": {"batch_sizes": [8], "dims": [4], "seeds": [0]},
    "leak": {"channels": 6, "batch_size": 16, "eps": [1e-5]},
}


ONE_PROCESS = """
import json, sys
from importlib import import_module
import numpy, torch
from bnblind import numerics
numerics.check(sys.argv[1], 1)
for step, *words in json.loads(sys.argv[2]):
    import_module(f"bnblind.pipeline.steps.{step}").main(words)
"""
"""Steps one after the other; an emulated process takes half a minute to import torch."""


def commands(prepared: Path) -> list[list[str]]:
    """Each step's name and options; files are named relative to the folder."""
    data = {"prepared": str(prepared)}
    steps: list[tuple[str, dict[str, str]]] = [
        (
            "train",
            {
                **{"kind": "networks", "cells": json.dumps([CELL]), **data},
                **{name: name for name in ("checkpoint", "weights", "results")},
            },
        ),
        (
            "train",
            {
                **{"kind": "networks", "cells": json.dumps([CONVOLUTIONS]), **data},
                **{name: f"conv-{name}" for name in ("checkpoint", "weights", "results")},
            },
        ),
        (
            "train",
            {
                **{"kind": "networks", "cells": json.dumps(DEEP), "prepared": "images"},
                **{name: f"deep-{name}" for name in ("checkpoint", "weights", "results")},
            },
        ),
        (
            "train",
            {
                **{"kind": "flows", "cells": json.dumps([FLOW, CONVOLUTIONAL]), **data},
                "checkpoint": "flow-checkpoint",
                **{name: f"flow-{name}" for name in ("weights", "results", "samples")},
            },
        ),
        (
            "train",
            {
                **{"kind": "gans", "cells": json.dumps([GAN]), **data},
                "checkpoint": "gan-checkpoint",
                **{name: f"gan-{name}" for name in ("results", "samples")},
            },
        ),
        (
            "train",
            {
                **{"kind": "federations", "cells": json.dumps([FEDERATION]), **data},
                **{"checkpoint": "federated-checkpoint", "results": "federated-results"},
            },
        ),
        (
            "split_networks",
            {
                **{"settings": json.dumps(PROBING), "checkpoint": "split-checkpoint", **data},
                **{name: name for name in ("weights", "terms", "blocked")},
            },
        ),
        (
            "measure_features",
            {
                **{"settings": json.dumps(FEATURES), "checkpoint": "features-checkpoint", **data},
                **{name: name for name in ("weights", "measures", "plane")},
            },
        ),
        ("train_first_order_task", {"settings": json.dumps(TOY), "table": "table"}),
        (
            "check_theorems",
            {
                "settings": json.dumps(CHECK),
                **{name: name for name in ("passing", "errors", "leak", "hessians", "metrics")},
            },
        ),
    ]
    return [
        [step, *(word for name, value in options.items() for word in (f"--{name}", value))]
        for step, options in steps
    ]


def enlarged(digits: Dataset, count: int) -> Dataset:
    """The first ``count`` images of each part, of 32 x 32 pixels: large enough for any network."""

    def part(whole: Part) -> Part:
        few = whole.first(count)
        pixels = few.pixels.repeat_interleave(4, 2).repeat_interleave(4, 3)
        return replace(few, pixels=pixels)

    return Dataset(*map(part, (digits.train, digits.validation, digits.test)))


def interpreter(processor: str) -> list[str]:
    """The command that starts this Python on that processor."""
    emulator = [] if processor == NATIVE else ["qemu-x86_64", "-cpu", processor]
    return [*emulator, sys.executable]


def run_steps(
    level: str,
    processor: str,
    source: Path,
    prepared: Path,
    folder: Path,
    chosen: Collection[int] | None = None,
) -> dict[str, bytes]:
    """Every file that the steps wrote in ``folder``, by name.

    Args:
        chosen: which of ``commands`` to run; all if None. Some need what the first one writes.

    The environment is set from outside: an emulated process that executes itself again would
    go on natively.

    Raises:
        CalledProcessError: a step failed, or the processor is not of the level; with its stderr.
    """
    folder.mkdir()
    (folder / "images").write_bytes(dataset_bytes(enlarged(read_dataset(prepared), 16), {}))
    steps = [
        step for number, step in enumerate(commands(prepared)) if chosen is None or number in chosen
    ]
    subprocess.run(
        [*interpreter(processor), "-c", ONE_PROCESS, level, json.dumps(steps)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(source), **environment(level, 1)},
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.suffix != ".lock"}


def main(argv: list[str]) -> None:
    level, processor, *paths = argv
    source, prepared, folder = (Path(path).resolve() for path in paths)
    files = run_steps(level, processor, source, prepared, folder)
    print(f"{folder}: {len(files)} files")


if __name__ == "__main__":
    main(sys.argv[1:])
