"""What would stop a run after hours, said before its first job."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.pipeline.artifacts import Artifact
from bnblind.pipeline.declaration import Config, Experiment
from bnblind.pipeline.usage import Usage, published_sizes, usage_of


def too_large(missing: Iterable[Artifact], usage: Usage, sizes: Mapping[str, int]) -> Iterator[str]:
    """A line if the largest job needs more memory than this machine has, one if the ``missing``
    files do not fit on the disk; nothing of what is not known. ``sizes``: bytes by path.
    """
    missing = list(missing)
    peaks = {usage[a.rule]["peak_mb"]: a.rule for a in missing if a.rule in usage}
    memory = psutil.virtual_memory().total / 1e6
    if peaks and max(peaks) > memory:
        yield (
            f"memory: found {memory:.0f} MB; {peaks[max(peaks)]} took {max(peaks):.0f} MB in the "
            "published run; allowed: a machine that has them"
        )
    needed, free = sum(sizes.get(a.path, 0) for a in missing), shutil.disk_usage(Path.cwd()).free
    if needed > free:
        yield (
            f"disk: found {free / 1e6:.0f} MB free; the files to make took {needed / 1e6:.0f} MB "
            "in the published run; allowed: a disk that has them"
        )


def unbuildable(
    cells: Iterable[Cell], config: Mapping[str, Any], datasets: Mapping[str, Any]
) -> Iterator[str]:
    """A line for each network that cannot be built: too deep for the images, a norm that is not
    defined for its features, a width that it does not have.
    """
    import torch

    from bnblind.experiments.networks.models import build_model

    known = {}
    for cell in cells:
        if isinstance(cell, NetworkCell):
            known[cell.dataset, cell.model, cell.norm, cell.init, *cell.options.items()] = cell
    told = set()
    for cell in known.values():
        (channels, *sides), classes = (datasets[cell.dataset][key] for key in ("shape", "classes"))
        pool = config["data"][cell.dataset].get("pool", 1)
        shape = (channels, *(side // pool for side in sides))
        try:
            with torch.device("meta"):
                build_model(cell.model, cell.norm, shape, classes, cell.init, **cell.options)
        except BadInput as error:
            told.add(f"{cell.dataset}, {cell.model}: {error}")
    yield from sorted(told)


def absent_devices(cells: Iterable[Cell]) -> Iterator[str]:
    """A line for each device that a cell asks for and this machine has not."""
    asked = sorted({cell.device for cell in cells} - {"cpu"})
    if not asked:
        return
    from bnblind.experiments.devices import gpus

    known = ["cpu", *gpus()]
    for word in asked:
        if word not in known and (word != "cuda" or len(known) == 1):
            yield f"device: found {word}; allowed on this machine: {', '.join(known)}"


def obstacles(
    config: Config,
    running: Iterable[Experiment],
    artifacts: Iterable[Artifact],
    datasets: Mapping[str, Any],
    *,
    here: bool,
) -> Iterator[str]:
    """A line for each thing that would stop the run of a profile, of the experiments ``running``
    and all ``artifacts``; ``here``: on this machine, not on a cluster's nodes.
    """
    missing = [artifact for artifact in artifacts if not Path(artifact.path).exists()]
    try:
        sizes = published_sizes(config)
    except BadInput as error:
        yield str(error)
        return
    yield from too_large(missing, usage_of(config["profile"]), sizes)
    if any(artifact.stage == "trained" for artifact in missing):
        cells = [c for e in running if e.training for c in e.training.all_cells(config)]
        yield from unbuildable(cells, config, datasets)
        yield from absent_devices(cells) if here else ()
