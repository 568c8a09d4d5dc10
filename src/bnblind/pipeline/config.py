"""The configuration: checked against the schema and the registries in the code.

Imports no numerical library, so that planning a run stays fast.
"""

import ast
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from bnblind.errors import BadInput
from bnblind.experiments.words import PURITY, purity_of, purity_word

SCHEMA = Path("workflow/schemas/config.schema.yaml")
DATASETS = Path("config/datasets.yaml")
DATASETS_SCHEMA = Path("workflow/schemas/datasets.schema.yaml")
SWEEPS = ("rates", "purity")
"""Experiments that train a grid's networks over learning rates or purities."""
REGISTRIES = {
    "norm": ("src/bnblind/norms.py", "NORMS"),
    "look": ("src/bnblind/figures/style.py", "LOOKS"),
    "model": ("src/bnblind/experiments/models.py", "MODELS"),
    "batching": ("src/bnblind/experiments/batching.py", "BATCHINGS"),
    "optimizer": ("src/bnblind/experiments/optimizers.py", "OPTIMIZERS"),
    "coupling": ("src/bnblind/experiments/flows/realnvp.py", "COUPLINGS"),
    "coupling_norm": ("src/bnblind/experiments/flows/coupling_norms.py", "COUPLING_NORMS"),
    "loss": ("src/bnblind/experiments/synthetic.py", "LOSSES"),
    "point": ("src/bnblind/experiments/theorems.py", "POINTS"),
}


def read_yaml(path: Path) -> Any:
    """Raises BadInput with the place where the file is no YAML."""
    try:
        with path.open("rb") as file:  # not a text: yaml then names the file, and the wrong bytes
            return yaml.safe_load(file)
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is no YAML: {' '.join(str(error).split())}") from error


def registered_names(kind: str) -> list[str]:
    """The words a configuration may use for ``kind``: data sets from their registry, others
    from the keys of a dict display in the code, read without importing it.
    """
    if kind == "dataset":
        return list(read_yaml(DATASETS))
    file, variable = REGISTRIES[kind]
    for node in ast.parse(Path(file).read_text(encoding="utf-8")).body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == variable
            and isinstance(node.value, ast.Dict)
        ):
            return [ast.literal_eval(key) for key in node.value.keys if key]
    raise LookupError(f"{file} defines no dict {variable}")


def _resolved(schema: Any) -> Any:
    """The schema with each ``registered: KIND`` replaced by the words allowed for KIND."""
    if isinstance(schema, list):
        return [_resolved(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "registered" in schema:
        names = registered_names(schema["registered"])
        if schema["registered"] == "batching":
            words = [*map(re.escape, names), PURITY]
            allowed = [*names, "purity-P, P such as 0.9, at most 1"]
            return {"type": "string", "pattern": f"^({'|'.join(words)})$", "words": allowed}
        return {"enum": names}
    return {key: _resolved(value) for key, value in schema.items()}


def _place(error: jsonschema.ValidationError) -> str:
    """Where the error lies, such as ``classification.digits-head.norms[0]``."""
    steps = (f"[{s}]" if isinstance(s, int) else f".{s}" for s in error.absolute_path)
    return "".join(steps).removeprefix(".") or "top level"


def _explained(error: jsonschema.ValidationError) -> str:
    if error.validator == "additionalProperties" and isinstance(error.schema, dict):
        allowed = error.schema.get("properties", {})
        wrong = [key for key in error.instance if key not in allowed]
        return f"unknown key {', '.join(map(repr, wrong))}; allowed: {', '.join(allowed)}"
    found = f"found {error.instance!r}"
    if error.validator == "enum":
        return f"{found}; allowed: {', '.join(map(str, error.validator_value))}"
    if error.validator in ("pattern", "oneOf") and "words" in error.schema:
        return f"{found}; allowed: {', '.join(error.schema['words'])}"
    if error.validator == "type":
        return f"{found} ({type(error.instance).__name__}); allowed: {error.validator_value}"
    return error.message


def _unprepared(place: str, grid: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    if grid["dataset"] not in config["data"]:
        yield (
            f"{place}.dataset: found {grid['dataset']!r}, which `data` does not prepare; "
            f"allowed: {', '.join(config['data'])}"
        )


def _contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """What a schema cannot say: relations between keys."""
    if config["root"] == "." and config["profile"] != "quick":
        yield (
            f"root: found '.' with profile {config['profile']!r}; allowed: '.' for quick only, "
            "whose results are the published ones; for others such as runs/NAME"
        )
    for name, split in config["data"].items():
        if split["validation"] + split["test"] >= 1:
            yield f"data.{name}: validation and test leave no training data; their sum must be < 1"
    for name, grid in config["classification"].items():
        place = f"classification.{name}"
        yield from _unprepared(place, grid, config)
        late = [epoch for epoch in grid["snapshots"] if epoch > grid["epochs"]]
        if late:
            yield f"{place}.snapshots: found {late}; allowed: 1 to epochs, {grid['epochs']}"
        yield from _impure(f"{place}.batchings", grid["batchings"], grid["dataset"])
        if not all(map(math.isfinite, grid["learning_rates"])):
            yield f"{place}.learning_rates: found {grid['learning_rates']}; allowed: finite numbers"
    yield from _contradictions_of_sweeps(config)
    yield from _contradictions_of_flows(config)
    yield from _twins(config)
    for name, probing in config["derivatives"].items():
        place, grid = f"derivatives.{name}", config["classification"].get(name)
        if grid is None:
            yield f"{place}: no such grid; allowed: {', '.join(config['classification'])}"
        elif "bn" not in grid["norms"] or "label" not in grid["batchings"]:
            yield (
                f"{place}: found norms {grid['norms']} and batchings {grid['batchings']} in that "
                "grid; allowed: grids with norm bn and batching label"
            )
        else:
            yield from _impure(f"{place}.batchings", probing["batchings"], grid["dataset"])
        if "label" not in probing["batchings"]:
            yield f"{place}.batchings: found {probing['batchings']}; allowed: with label"
    for name, analysis in config["features"].items():
        place, grid, tsne = f"features.{name}", config["classification"].get(name), analysis["tsne"]
        if grid is None:
            yield f"{place}: no such grid; allowed: {', '.join(config['classification'])}"
            continue
        if not set(tsne["norms"]) <= set(grid["norms"]):
            yield f"{place}.tsne.norms: found {tsne['norms']}; allowed: {', '.join(grid['norms'])}"
        if tsne["seed"] not in grid["seeds"]:
            yield f"{place}.tsne.seed: found {tsne['seed']}; allowed: {grid['seeds']}"
    steps, classes = (config["linear_signal"][key] for key in ("steps", "classes"))
    if steps < 2 * classes:
        yield f"linear_signal.steps: found {steps}; allowed: at least 2 x classes, {2 * classes}"


def violations(values: object, schema: Path) -> list[str]:
    """One line for each key that the schema does not allow: found, and allowed."""
    validator = jsonschema.Draft202012Validator(_resolved(read_yaml(schema)))
    return sorted(
        f"{_place(error)}: {_explained(error)}" for error in validator.iter_errors(values)
    )


def _impure(place: str, batchings: list[str], dataset: str) -> Iterator[str]:
    """At the key ``place``, purities below 1 / C, that of a random choice of samples."""
    least = 1 / read_yaml(DATASETS)[dataset]["classes"]
    purities = {word: purity_of(word) for word in batchings}
    low = [word for word, purity in purities.items() if purity is not None and purity < least]
    if low:
        yield f"{place}: found {low}; allowed purities: {least:g} (1 / classes) to 1"


def _contradictions_of_sweeps(config: Mapping[str, Any]) -> Iterator[str]:
    for sweep in SWEEPS:
        for name, settings in config[sweep].items():
            place, grid = f"{sweep}.{name}", config["classification"].get(name)
            if grid is None:
                yield f"{place}: no such grid; allowed: {', '.join(config['classification'])}"
            elif sweep == "purity":
                words = list(map(purity_word, settings["purities"]))
                yield from _impure(f"{place}.purities", words, grid["dataset"])
            else:
                yield from _impure(f"{place}.batchings", settings["batchings"], grid["dataset"])
                again = [
                    f"{cell['norm']}, {cell['batching']} at {cell['lr']}"
                    for cell in _swept(config, sweep, name)
                    if cell in _cells_of(name, grid)
                ]
                if again:
                    yield f"{place}: found {'; '.join(again)}, which the grid itself trains"
                if not all(map(math.isfinite, settings["learning_rates"])):
                    rates = settings["learning_rates"]
                    yield f"{place}.learning_rates: found {rates}; allowed: finite numbers"


def _trained(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Key of a grid or sweep, and what the columns of the results say of each cell of it."""
    grids = config["classification"]
    for table in ("classification", *SWEEPS):
        for name in [name for name in config[table] if name in grids]:
            own = _cells_of(name, grids[name])
            network = grids[name]["dataset"], grids[name]["model"]
            for cell in own if table == "classification" else _swept(config, table, name):
                yield f"{table}.{name}", (*network, cell["norm"], cell["batching"], cell["lr"])
    for name, grid in config["flows"].items():
        axes = ("norms", "coupling_norms", "pairs", "batchings")
        for values in itertools.product(*(grid[axis] for axis in axes)):
            yield f"flows.{name}", (grid["dataset"], grid["coupling"], *map(str, values))


def _twins(config: Mapping[str, Any]) -> Iterator[str]:
    """Grids, or sweeps of other grids, that train the same cell: no column tells them apart.

    What a sweep shares with its own grid is not asked here: rates are held against the grid where
    sweeps are checked, and a grid may keep the weights of a purity that its sweep only measures.
    """
    first: dict[tuple[Any, ...], str] = {}
    told = set()
    for place, cell in _trained(config):
        other = first.setdefault(cell, place)
        own = place.split(".")[1] == other.split(".")[1]
        if not own and (place, other) not in told:
            told.add((place, other))
            found = ", ".join(map(str, cell))
            yield f"{place}: found {found}, which {other} trains as well; allowed: one of them"


def _contradictions_of_flows(config: Mapping[str, Any]) -> Iterator[str]:
    registered = read_yaml(DATASETS)
    for name, grid in config["flows"].items():
        place = f"flows.{name}"
        yield from _unprepared(place, grid, config)
        classes = registered[grid["dataset"]]["classes"]
        for pair in grid["pairs"]:
            if pair[0] == pair[1] or max(pair) >= classes:
                yield f"{place}.pairs: found {pair}; allowed: two of the classes 0 to {classes - 1}"
        numbers = {key: grid[key] for key in ("lr", "scale_regularization")}
        for key, number in numbers.items():
            if not math.isfinite(number):
                yield f"{place}.{key}: found {number}; allowed: finite numbers"


def check_config(config: Mapping[str, Any]) -> None:
    """Check a whole configuration.

    Raises:
        BadInput: names every offending key with what was found and what is allowed.
    """
    if lines := violations(read_yaml(DATASETS), DATASETS_SCHEMA):
        raise BadInput(f"{DATASETS}: " + "\n  ".join(lines))
    looks = registered_names("look")
    if plain := [norm for norm in registered_names("norm") if norm not in looks]:
        file, variable = REGISTRIES["look"]
        raise BadInput(f"{file}: {variable} holds no colour for the norm {', '.join(plain)}")
    if lines := violations(config, SCHEMA) or list(_contradictions(config)):
        raise BadInput("configuration: " + "\n  ".join(lines))


def _cells_of(name: str, grid: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every cell of a grid: grid, norm, batching, lr."""
    for norm in grid["norms"]:
        for batching in grid["batchings"]:
            for lr in grid["learning_rates"]:
                yield {"grid": name, "norm": norm, "batching": batching, "lr": float(lr)}


def _swept(config: Mapping[str, Any], sweep: str, name: str) -> Iterator[dict[str, Any]]:
    """Every cell of one sweep: its settings vary what the grid ``name`` holds fixed."""
    settings, grid = config[sweep][name], config["classification"][name]
    own: dict[str, Any] = {"norms": settings["norms"]}
    if sweep == "purity":
        own["batchings"] = list(map(purity_word, settings["purities"]))
    else:
        own |= {key: settings[key] for key in ("batchings", "learning_rates")}
    yield from _cells_of(name, {**grid, **own})


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
    return [cell_settings(config, cell) for cell in _cells_of(name, grid)]


def sweep_cells(config: Mapping[str, Any], job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Settings of all cells that a job (sweep, grid, norm) trains."""
    name, sweep = job["grid"], job["sweep"]
    own = {"seeds": config[sweep][name]["seeds"], "snapshots": []}
    return [
        cell_settings(config, cell) | own
        for cell in _swept(config, sweep, name)
        if cell["norm"] == job["norm"]
    ]


def cell_settings(config: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    """All that defines the cell's runs, and nothing else: what its training depends on."""
    grid = config["classification"][cell["grid"]]
    shared = ("dataset", "model", "batch_size", "epochs", "seeds", "snapshots", "optimizer")
    settings = {key: grid[key] for key in shared}
    own = {"norm": cell["norm"], "batching": cell["batching"], "lr": float(cell["lr"])}
    return settings | own


def result_tables(config: Mapping[str, Any]) -> list[str]:
    """The tables that the claims are judged by; ``claims.schema.yaml`` lists their kinds."""
    tables = [f"theorems/{name}" for name in ("passing", "errors", "leak")]
    tables += ["linear_signal", "classification", "flows", *SWEEPS]
    tables += [f"features/{grid}-measures" for grid in config["features"]]
    for grid in config["derivatives"]:
        tables += [f"derivatives/{grid}-{name}" for name in ("terms", "blocked")]
    return tables


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
