"""What would stop a run after hours, said before its first job."""

import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell
from bnblind.pipeline.artifacts import Artifact, to_train
from bnblind.pipeline.declaration import Config, Experiment
from bnblind.pipeline.usage import runs_for, sizes_for, usage_for

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
    needs: Collection[tuple[float, str]], sizes: Mapping[str, int], *, here: bool
) -> Iterator[str]:
    """A line if the jobs run ``here`` and there is less memory than the largest of ``needs``, in
    megabytes, each with what tells of it; one if the disk has no room for files of these ``sizes``,
    in bytes.
    """
    most, told = max(needs, key=lambda need: need[0], default=(0, ""))
    if here and most > memory():
        yield f"memory: found {memory():.0f} MB; {told}"
    needed, free = sum(sizes.values()), shutil.disk_usage(Path.cwd()).free
    if needed > free:
        yield (
            f"disk: found {free / 1e6:.0f} MB free; the files to make take about "
            f"{needed / 1e6:.0f} MB; allowed: a disk that has them"
        )


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
    missing = {a.path: a.rule for a in artifacts if not Path(a.path).exists()}
    try:
        usage, sizes = usage_for(config), sizes_for(config, missing)
    except BadInput as error:
        yield str(error)
        return
    needs = list[tuple[float, str]]()
    if (own := config["profile"]) in runs_for(config):
        peaks = {rule: usage[rule]["peak_mb"] for rule in missing.values() if rule in usage}
        told = f"MB in the published run of {own}; allowed: a machine with more"
        needs = [(mb, f"{rule} took {mb:.0f} {told}") for rule, mb in peaks.items()]
    if training := [*to_train(config, running, missing.keys())]:
        from bnblind.pipeline.footprint import expected  # loads torch

        found = expected(training, config, datasets)
        yield from sorted(found.refused)
        yield from absent_devices(cell for job in training for cell in job.cells) if here else ()
        needs += found.needs.values()
        sizes |= {path: found.sizes[path] for path in missing.keys() & found.sizes}
    yield from too_large(needs, sizes, here=here)
    yield from unfilled(config, datasets)
