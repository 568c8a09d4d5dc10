"""The configuration, checked whole before anything is planned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.pipeline.contradictions import contradictions
from bnblind.pipeline.schema import (
    DATASETS,
    REGISTRIES,
    read_yaml,
    registered_names,
    violations,
)

SCHEMA = Path("workflow/schemas/config.schema.yaml")
DATASETS_SCHEMA = Path("workflow/schemas/datasets.schema.yaml")


def check_config(config: Mapping[str, Any]) -> None:
    """Check a configuration, and the registry of data sets that it refers to.

    Raises:
        BadInput: names every offending key with what was found and what is allowed.
    """
    if lines := violations(read_yaml(DATASETS), DATASETS_SCHEMA):
        raise BadInput(f"{DATASETS}: " + "\n  ".join(lines))
    looks = registered_names("look")
    if plain := [norm for norm in registered_names("norm") if norm not in looks]:
        file, variable = REGISTRIES["look"]
        raise BadInput(f"{file}: {variable} holds no colour for the norm {', '.join(plain)}")
    if lines := violations(config, SCHEMA) or list(contradictions(config)):
        raise BadInput("configuration: " + "\n  ".join(lines))
