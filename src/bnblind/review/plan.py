"""Say what would run and why, with the seconds, memory and disk that it may take.

Estimates come from the mean and the largest job of each rule, and from the sizes of the files, in
the published run of the profile or else in those with one of its data sets; weights, and the least
memory, from the shapes of its networks.
"""

import argparse
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bnblind.pipeline.usage import Usage, runs_for, sizes_for, usage_for
from bnblind.review import add_profile
from bnblind.review.terminal import within

if TYPE_CHECKING:
    from bnblind.pipeline.declaration import Config, Experiment


@dataclass(frozen=True)
class Job:
    """A job that Snakemake would run: its rule, the files it would make, and the reason."""

    rule: str
    outputs: tuple[str, ...]
    reason: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_profile(parser)


def planned(printed: str) -> Iterator[Job]:
    """The jobs that a dry run lists; not those that only name files to make."""
    for block in re.split(r"^rule ", printed, flags=re.MULTILINE)[1:]:
        told = dict(re.findall(r"^    (output|reason): (.*)$", block, re.MULTILINE))
        if "output" in told:
            outputs = told["output"].replace(" (update)", "").split(", ")
            yield Job(block.partition(":")[0], tuple(outputs), told["reason"].partition(":")[0])


def expected(jobs: Sequence[Job], usage: Usage, cores: int) -> str:
    """A line on how many jobs there are and about how long they take, if ``usage`` tells."""
    seconds = [usage[job.rule]["mean_seconds"] for job in jobs if job.rule in usage]
    if not seconds:
        return f"jobs to run: {len(jobs)}; of this profile no run is published to say how long"
    minutes = math.ceil((sum(seconds) / cores + max(seconds)) / 60)  # the last one runs alone
    return (
        f"jobs to run: {len(jobs)}, which took {sum(seconds):,.0f} CPU-seconds in the published "
        f"run; about {minutes} min (cores: {cores})"
    )


def table(jobs: Iterable[Job], usage: Usage, sizes: Mapping[str, int]) -> str:
    """One line a rule, and their sum; ``sizes`` are bytes by path."""
    lines = [f"{'rule':24} {'jobs':>5} {'CPU s':>7} {'MB':>6} {'disk MB':>8}  why"]
    by_rule: dict[str, list[Job]] = {}
    for job in jobs:
        by_rule.setdefault(job.rule, []).append(job)
    seconds, peak, disk = 0.0, 0.0, 0
    for rule, of_rule in by_rule.items():
        used = usage.get(rule, {"mean_seconds": 0, "peak_mb": 0})
        here = used["mean_seconds"] * len(of_rule)
        written = sum(sizes.get(path, 0) for job in of_rule for path in job.outputs)
        seconds, peak, disk = seconds + here, max(peak, used["peak_mb"]), disk + written
        lines.append(
            f"{rule:24} {len(of_rule):5} {here:7.0f} {used['peak_mb']:6.0f} {written / 1e6:8.1f}  "
            + ", ".join(dict.fromkeys(job.reason for job in of_rule))
        )
    jobs_in_all = sum(map(len, by_rule.values()))
    lines.append(f"{'all':24} {jobs_in_all:5} {seconds:7.0f} {peak:6.0f} {disk / 1e6:8.1f}")
    indent = lines[0].index("why")
    return "\n".join(within(line, indent) for line in lines) if by_rule else "nothing to do"


def with_networks(
    usage: Usage, config: "Config", declared: "Iterable[Experiment]", jobs: Iterable[Job]
) -> tuple[Usage, Mapping[str, int], Iterable[str]]:
    """``usage``, with no less memory than the networks of the jobs take; bytes of their weights;
    and a line for each network that cannot be built.
    """
    from bnblind.pipeline.artifacts import to_train
    from bnblind.pipeline.configuration.schema import datasets
    from bnblind.pipeline.footprint import expected

    running = [experiment for experiment in declared if experiment.runs_in(config)]
    made = {path for job in jobs for path in job.outputs}
    found = expected(to_train(config, running, made), config, datasets())
    none = {"mean_seconds": 0.0, "longest_seconds": 0.0, "peak_mb": 0.0}
    raised = {}
    for rule, (least, _) in found.needs.items():
        of_rule = usage.get(rule, none)
        raised[rule] = {**of_rule, "peak_mb": max(of_rule["peak_mb"], least)}
    return {**usage, **raised}, found.sizes, sorted(found.refused)


def run(args: argparse.Namespace) -> None:
    """Print the plan; nothing runs."""
    from bnblind.review.workflow import read_profile, snakemake

    config, declared, known = read_profile(args.configfile)
    jobs = [*planned(snakemake(args.configfile, "--dry-run"))]
    usage, sizes = usage_for(config), sizes_for(config, [artifact.path for artifact in known])
    refused: Iterable[str] = ()
    if jobs:
        usage, weights, refused = with_networks(usage, config, declared.values(), jobs)
        sizes |= weights
    print(table(jobs, usage, sizes))
    for line in refused:
        print(f"would end in an error: {line}")
    if jobs and config["profile"] not in (runs := runs_for(config)):
        print(
            f"no run of the profile {config['profile']} is published: seconds are those of "
            f"{', '.join(runs)}, whose networks may be far smaller; memory is theirs, or the least "
            "that its own networks take if that is more"
        )
