"""The jobs of a configuration, the cells that each trains, and the tables they end in.

A cell is one choice of every setting but the seed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bnblind.experiments.words import purity_word

SWEEPS = ("rates", "purity")
"""Experiments that train a grid's networks over learning rates or purities."""


def grid_cells(name: str, grid: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every cell of a grid: grid, norm, batching, lr."""
    for norm in grid["norms"]:
        for batching in grid["batchings"]:
            for lr in grid["learning_rates"]:
                yield {"grid": name, "norm": norm, "batching": batching, "lr": float(lr)}


def swept_cells(config: Mapping[str, Any], sweep: str, name: str) -> Iterator[dict[str, Any]]:
    """Every cell of one sweep: its settings vary what the grid ``name`` holds fixed."""
    settings, grid = config[sweep][name], config["classification"][name]
    own: dict[str, Any] = {"norms": settings["norms"]}
    if sweep == "purity":
        own["batchings"] = list(map(purity_word, settings["purities"]))
    else:
        own |= {key: settings[key] for key in ("batchings", "learning_rates")}
    yield from grid_cells(name, {**grid, **own})


def training_jobs(config: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every job of the classification grids: grid, norm. Starting one takes seconds, a cell of a
    small network as many: so a job trains all cells of a norm.
    """
    grids = config["classification"]
    return [{"grid": name, "norm": norm} for name in grids for norm in grids[name]["norms"]]


def trained_cells(config: Mapping[str, Any], job: Mapping[str, str]) -> list[dict[str, Any]]:
    """Settings of all cells that a job (grid, norm) trains."""
    name, norm = job["grid"], job["norm"]
    grid = config["classification"][name] | {"norms": [norm]}
    return [cell_settings(config, cell) for cell in grid_cells(name, grid)]


def sweep_cells(config: Mapping[str, Any], job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Settings of all cells that a job (sweep, grid, norm) trains."""
    name, sweep = job["grid"], job["sweep"]
    own = {"seeds": config[sweep][name]["seeds"], "snapshots": []}
    return [
        cell_settings(config, cell) | own
        for cell in swept_cells(config, sweep, name)
        if cell["norm"] == job["norm"]
    ]


def cell_settings(config: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    """All that defines the cell's runs, and nothing else: what its training depends on."""
    grid = config["classification"][cell["grid"]]
    shared = ("dataset", "model", "batch_size", "epochs", "seeds", "snapshots", "optimizer")
    settings = {key: grid[key] for key in shared}
    own = {"norm": cell["norm"], "batching": cell["batching"], "lr": float(cell["lr"])}
    return settings | own


def flow_jobs(config: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every job of the flow grids: grid, norm, coupling_norm."""
    return [
        {"grid": name, "norm": norm, "coupling_norm": coupling_norm}
        for name, grid in config["flows"].items()
        for norm in grid["norms"]
        for coupling_norm in grid["coupling_norms"]
    ]


def flow_cells(
    config: Mapping[str, Any], job: Mapping[str, str], datasets: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Settings of all cells that a job trains: all that defines their runs, and nothing else.
    ``datasets`` is the registry.
    """
    grid = config["flows"][job["grid"]]
    axes = ("pairs", "norms", "coupling_norms", "batchings")
    settings = {key: value for key, value in grid.items() if key not in axes}
    settings |= {key: job[key] for key in ("norm", "coupling_norm")}
    settings["levels"] = datasets[grid["dataset"]]["levels"]
    return [
        settings | {"pair": pair, "batching": batching}
        for pair in grid["pairs"]
        for batching in grid["batchings"]
    ]


def result_tables(config: Mapping[str, Any]) -> list[str]:
    """The tables that the claims are judged by; ``claims.schema.yaml`` lists their kinds."""
    tables = [f"theorems/{name}" for name in ("passing", "errors", "leak")]
    tables += ["linear_signal", "classification", "flows", *SWEEPS]
    tables += [f"features/{grid}-measures" for grid in config["features"]]
    for grid in config["derivatives"]:
        tables += [f"derivatives/{grid}-{name}" for name in ("terms", "blocked")]
    return tables
