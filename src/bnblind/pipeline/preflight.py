"""What would stop a run after hours, said before its first job."""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell
from bnblind.experiments.federations.cell import FederatedCell
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.pipeline.artifacts import Artifact
from bnblind.pipeline.declaration import Config, Experiment
from bnblind.pipeline.usage import Usage, sizes_for, usage_for

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def memory() -> float:
    """Megabytes that all jobs on this machine may use: its own, or what control groups leave."""
    told = OWN_GROUP.read_text() if OWN_GROUP.is_file() else ""
    own = GROUPS / (re.findall(r"^0::/(.*)$", told, re.MULTILINE) or [""])[0]
    files = [folder / "memory.max" for folder in (own, *own.parents)]
    files.append(GROUPS / "memory/memory.limit_in_bytes")  # version 1, seen from a container
    limits = [file.read_text().strip() for file in files if file.is_file()]
    return min([psutil.virtual_memory().total, *(int(n) for n in limits if n.isdecimal())]) / 1e6


def too_large(
    missing: Iterable[Artifact], usage: Usage, sizes: Mapping[str, int], *, here: bool
) -> Iterator[str]:
    """A line if the jobs run ``here`` and the largest needs more memory than there is, one if the
    ``missing`` files do not fit on the disk; nothing of what is not known. ``sizes``: their bytes.
    """
    missing = list(missing)
    peaks = {usage[a.rule]["peak_mb"]: a.rule for a in missing if a.rule in usage}
    if here and peaks and max(peaks) > memory():
        yield (
            f"memory: found {memory():.0f} MB; {peaks[max(peaks)]} took {max(peaks):.0f} MB in a "
            "published run; allowed: a machine that has them"
        )
    needed, free = sum(sizes.get(a.path, 0) for a in missing), shutil.disk_usage(Path.cwd()).free
    if needed > free:
        yield (
            f"disk: found {free / 1e6:.0f} MB free; the files to make took {needed / 1e6:.0f} MB "
            "in a published run; allowed: a disk that has them"
        )


def unbuildable(
    cells: Iterable[Cell], config: Mapping[str, Any], datasets: Mapping[str, Any]
) -> Iterator[str]:
    """A line for each network that cannot be built: too deep for the images, a norm that is not
    defined for its features, a width that it does not have, images that a flow cannot halve.
    """
    import torch

    from bnblind.experiments.flows.realnvp import build_flow
    from bnblind.experiments.networks.models import build_model

    known: dict[tuple[Any, ...], partial[Any]] = {}
    for cell in cells:
        (channels, *sides), classes = (datasets[cell.dataset][key] for key in ("shape", "classes"))
        pool = config["data"][cell.dataset].get("pool", 1)
        shape, sizes = (channels, *(side // pool for side in sides)), dict[str, Any]()
        build: partial[Any]
        if isinstance(cell, FlowCell):  # one coupling of each kind is like the others
            sizes = {key: getattr(cell, key) for key in ("width", "coupling_norm", "constraint")}
            sizes |= {"norm": cell.norm, "couplings": 1, "depth": 1}
            build = partial(build_flow, cell.coupling, shape, **sizes)
        elif isinstance(cell, NetworkCell | FederatedCell):
            if isinstance(cell, NetworkCell):
                sizes = {"init": cell.init, **cell.options}
            build = partial(build_model, cell.model, cell.norm, shape, classes, **sizes)
        else:
            continue
        known[cell.dataset, build.args[0], cell.norm, *sizes.items()] = build
    told = set()
    for (dataset, name, *_), build in known.items():
        try:
            # A flow reads its masks, which hold nothing on the meta device.
            with torch.device("cpu" if build.func is build_flow else "meta"):
                build()
        except BadInput as error:
            told.add(f"{dataset}, {name}: {error}")
    yield from sorted(told)


def unfilled(config: Config, datasets: Mapping[str, Any]) -> Iterator[str]:
    """A line for each grid whose ``derivatives`` would find no label-pure batch of their size; if
    the size of the training part is not given, the step says so.
    """
    for grid, own in config.get("derivatives", {}).items():
        dataset = config["classification"][grid]["dataset"]
        train = config["data"][dataset].get("train")
        if train and own["batch_size"] > (of_class := train // datasets[dataset]["classes"]):
            yield (
                f"derivatives.{grid}.batch_size: found {own['batch_size']}; allowed: at most the "
                f"{of_class} samples of a class in the training part"
            )


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
        sizes = sizes_for(config, [artifact.path for artifact in missing])
    except BadInput as error:
        yield str(error)
        return
    yield from too_large(missing, usage_for(config), sizes, here=here)
    yield from unfilled(config, datasets)
    if any(artifact.stage == "trained" for artifact in missing):
        cells = [c for e in running if e.training for c in e.training.all_cells(config)]
        yield from unbuildable(cells, config, datasets)
        yield from absent_devices(cells) if here else ()
