"""Files of configuration: read, and held against a schema and the registries in the code.

Imports no numerical library, so that planning a run stays fast.
"""

import ast
import math
import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from bnblind.errors import BadInput
from bnblind.experiments.words import FOREIGN, PURITY
from bnblind.norm_facts import norm_facts

DATASETS = Path("config/datasets.yaml")
REGISTRIES = {
    "format": ("src/bnblind/experiments/preparation.py", "READERS"),
    "model": ("src/bnblind/experiments/networks/models.py", "MODELS"),
    "augmentation": ("src/bnblind/experiments/networks/augmentation.py", "AUGMENTATIONS"),
    "split": ("src/bnblind/experiments/datasets.py", "SPLITTINGS"),
    "feed": ("src/bnblind/experiments/gans/cell.py", "FEEDS"),
    "init": ("src/bnblind/experiments/networks/models.py", "INITS"),
    "loss": ("src/bnblind/experiments/networks/losses.py", "TRAINING_LOSSES"),
    "batching": ("src/bnblind/experiments/batching.py", "BATCHINGS"),
    "optimizer": ("src/bnblind/experiments/optimizers.py", "OPTIMIZERS"),
    "coupling": ("src/bnblind/experiments/flows/realnvp.py", "COUPLINGS"),
    "coupling_norm": ("src/bnblind/experiments/flows/coupling_norms.py", "COUPLING_NORMS"),
    "shared_loss": ("src/bnblind/experiments/synthetic.py", "SHARED_LOSSES"),
    "point": ("src/bnblind/experiments/theorem_check.py", "POINTS"),
}


def read_yaml(path: Path) -> Any:
    """Raises BadInput with the place where the file is not valid YAML."""
    try:
        with path.open("rb") as file:  # not a text: yaml then names the file, and the wrong bytes
            return yaml.safe_load(file)
    except RecursionError as error:
        raise BadInput(f"{path} is not valid YAML: nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise BadInput(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def datasets() -> dict[str, Any]:
    """The registry of data sets: name -> entry."""
    registered: dict[str, Any] = read_yaml(DATASETS)
    return registered


def class_counts(config: Mapping[str, Any]) -> dict[str, Any]:
    """A page's parameter: the classes of each data set, for a line at chance."""
    return {"classes": {name: datasets()[name]["classes"] for name in config["data"]}}


def registered_names(kind: str) -> list[str]:
    """The words a configuration may use for ``kind``: data sets from their registry, norms from
    their files, others from the keys of a dict display in the code, read without importing it.
    """
    if kind == "dataset":
        return list(datasets())
    if kind == "norm":
        return list(norm_facts())
    file, variable = REGISTRIES[kind]
    for node in ast.parse(Path(file).read_text(encoding="utf-8")).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(keys)) if name == variable:
                return [ast.literal_eval(key) for key in keys if key]
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
            words = [*map(re.escape, names), PURITY, FOREIGN]
            allowed = [*names, "purity-P, P such as 0.9, at most 1", "foreign-K, K such as 1"]
            return {"type": "string", "pattern": "|".join(words), "words": allowed}
        return {"enum": names}
    return {key: _resolved(value) for key, value in schema.items()}


def _is_finite_number(_: jsonschema.TypeChecker, value: object) -> bool:
    """YAML's ``.inf`` and ``.nan`` are numbers to JSON Schema, and settings of nothing."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _pattern(
    _: Any, pattern: str, value: object, schema: Mapping[str, Any]
) -> Iterator[jsonschema.ValidationError]:
    """Of the whole text, to its last line feed; JSON Schema's own is content with a part."""
    if isinstance(value, str) and not re.fullmatch(pattern, value):
        allowed = ", ".join(schema["words"]) if "words" in schema else f"texts like {pattern}"
        yield jsonschema.ValidationError(f"found {_SHORT.repr(value)}; allowed: {allowed}")


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring = 3, 20, 20, 100
_draft = jsonschema.Draft202012Validator
_Validator = jsonschema.validators.extend(
    _draft,
    {"pattern": _pattern},
    type_checker=_draft.TYPE_CHECKER.redefine("number", _is_finite_number),
)


def _place(error: jsonschema.ValidationError) -> str:
    """Where the error lies, such as ``classification.digits-head.norms[0]``."""
    steps = (f"[{s}]" if isinstance(s, int) else f".{s}" for s in error.absolute_path)
    return "".join(steps).removeprefix(".") or "top level"


def _explained(error: jsonschema.ValidationError) -> str:
    if error.validator == "additionalProperties" and isinstance(error.schema, dict):
        allowed = error.schema.get("properties", {})
        wrong = [key for key in error.instance if key not in allowed]
        return f"unknown key {', '.join(map(_SHORT.repr, wrong))}; allowed: {', '.join(allowed)}"
    found = f"found {_SHORT.repr(error.instance)}"
    if error.validator == "enum":
        return f"{found}; allowed: {', '.join(map(str, error.validator_value))}"
    if error.validator == "oneOf" and "words" in error.schema:
        return f"{found}; allowed: {', '.join(error.schema['words'])}"
    if error.validator == "type":
        allowed = "finite number" if error.validator_value == "number" else error.validator_value
        return f"{found} ({type(error.instance).__name__}); allowed: {allowed}"
    return error.message


def violations(values: object, schema: Any) -> list[str]:
    """One line for each key that the schema does not allow: found, and allowed."""
    validator = _Validator(_resolved(schema))
    return sorted(
        f"{_place(error)}: {_explained(error)}" for error in validator.iter_errors(values)
    )
