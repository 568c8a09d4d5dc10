"""Keys of a configuration as JSON schemas; each states its type and its meaning once.

The check of a profile and the tables of ``config/README.md`` are both made of them.
"""

from collections.abc import Sequence
from typing import Any

from bnblind.experiments.cells import JOBS, Cell

Schema = dict[str, Any]

GRID = "^[a-z][a-z0-9_-]{0,59}$"
"""What a grid may be called: it is part of files' names, which have 255 bytes at most."""
MOST = 1_000_000
"""The largest integer: beyond it a slip, since no training would end."""
SEED = 2**32 - 1
"""The largest seed that scikit-learn takes."""
LARGEST = 1e30
"""The largest number: its square is no float32, but its product with a weight is one."""


def name(kind: str, meaning: str) -> Schema:
    """One of the names that the code registers for ``kind``."""
    return {"registered": kind, "description": meaning}


def integer(meaning: str, least: int = 1, most: int = MOST, **more: Any) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "description": meaning, **more}


def number(meaning: str, **bounds: float) -> Schema:
    """A finite number; ``bounds`` are those of JSON Schema, such as ``exclusiveMinimum=0``."""
    return {"type": "number", "maximum": LARGEST, **bounds, "description": meaning}


def positive(meaning: str, **bounds: float) -> Schema:
    return number(meaning, exclusiveMinimum=0, **bounds)


def several(item: Schema, least: int = 1) -> Schema:
    """A list of what ``item`` says, without repetition, at least ``least`` long."""
    own = {key: value for key, value in item.items() if key != "description"}
    return {
        "type": "array",
        "minItems": least,
        "uniqueItems": True,
        "items": own,
        "description": item["description"],
    }


def pair(meaning: str, **bounds: float) -> Schema:
    """Two integers from 0, or two numbers within ``bounds``."""
    item = number("", **bounds) if bounds else integer("", 0)
    return {"type": "array", "minItems": 2, "maxItems": 2, "items": item, "description": meaning}


def names(kind: str, meaning: str) -> Schema:
    return several(name(kind, meaning))


def default(schema: Schema, value: Any, absent: str = "its own") -> Schema:
    """The key may be missing, which means ``value``; None: what ``absent`` says."""
    words = f"`{value}`" if isinstance(value, str) else absent if value is None else str(value)
    meaning = f"{schema['description']}; {words} if not given"
    return schema | {"default": value, "description": meaning}


def seeds(of: str) -> Schema:
    return several(integer(of, 0, SEED))


def word(words: Sequence[str], meaning: str) -> Schema:
    """One of ``words``; the first if not given."""
    return default({"enum": [*words], "description": meaning}, words[0])


def jobs() -> Schema:
    meaning = "what a job trains: all cells of a norm, a cell, or a seed of one; changes no result"
    return word(JOBS, meaning)


def device() -> Schema:
    meaning = "where to train: `cpu`, `cuda` (the first GPU that is free) or `cuda:N`; other bits"
    pattern = "^(cpu|cuda|cuda:[0-9]{1,3})$"
    return default({"type": "string", "pattern": pattern, "description": meaning}, Cell.device)


def mapping(meaning: str, keys: Schema) -> Schema:
    """A mapping of exactly these keys, of which only those with a default may be missing."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [key for key, schema in keys.items() if "default" not in schema],
        "properties": keys,
        "description": meaning,
    }


def grids(meaning: str, keys: Schema) -> Schema:
    """One or more grids by name, each a mapping of these keys."""
    return {
        "type": "object",
        "title": "GRID",
        "minProperties": 1,
        "propertyNames": {"type": "string", "pattern": GRID},
        "additionalProperties": mapping(meaning, keys),
    }


def trained_again(how: str, norms: str, keys: Schema) -> Schema:
    """Grids of ``classification`` whose networks are trained again under some ``norms``."""
    own = {"norms": names("norm", norms), **keys}
    return grids(
        f"the networks of that grid of `classification` again, {how}; all else is the grid's. One "
        "job per norm trains all of it and keeps results, no weights. A run whose loss is no "
        "longer finite ends there and is recorded as diverged",
        own | {"seeds": seeds("of initialization and batches")},
    )


def optimizer() -> Schema:
    """Its name and the settings that it has."""
    shared = mapping(
        "step rule",
        {
            "name": name("optimizer", "`sgd`, `adam` or `adamax`"),
            "momentum": default(number("of `sgd`", minimum=0, exclusiveMaximum=1), 0),
            "weight_decay": default(
                number("times the weights, added to the gradient", minimum=0), 0
            ),
            "betas": default(
                pair("of `adam` and `adamax`", minimum=0, exclusiveMaximum=1), [0.9, 0.999]
            ),
            "eps": default(positive("of `adam` and `adamax`"), 1e-8),
        },
    )
    own = {
        "sgd": ["name", "momentum", "weight_decay"],
        "adam": ["name", "weight_decay", "betas", "eps"],
    }
    own["adamax"] = own["adam"]
    return shared | {
        "allOf": [
            {
                "if": {"properties": {"name": {"const": name}}},
                "then": {"propertyNames": {"enum": allowed}},
            }
            for name, allowed in own.items()
        ]
    }
