"""What training a cell's seeds has in common, whatever is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from torch import Tensor

from bnblind.errors import BadInput

Weights = dict[str, Tensor]


@dataclass
class Run:
    """Results of one seed: ``metrics`` one row an (epoch, metric), ``weights`` by epoch.

    ``batch_order``: hash of the training batches of all epochs so far, see ``order_hash``.
    """

    seed: int
    metrics: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[int, Weights] = field(default_factory=dict)
    batch_order: str = ""

    def record(self, epoch: int, name: str, **values: float) -> None:
        """One row a value, its metric called ``name.KEY``."""
        self.metrics += [
            {"epoch": epoch, "metric": f"{name}.{key}", "value": value}
            for key, value in values.items()
        ]


class Cell(Protocol):
    """What defines runs that differ in their seed only."""

    @property
    def seeds(self) -> tuple[int, ...]: ...

    @property
    def key(self) -> str:
        """What tells it from the other cells of its job."""


class Trainer(Protocol):
    """One seed of a cell, trained an epoch at a time; goes on from another's :meth:`state`."""

    name: str
    run: Run
    epoch: int

    @property
    def finished(self) -> bool: ...

    def advance(self) -> None: ...

    def state(self) -> Weights: ...

    def resume(self, state: Weights, run: Run, epoch: int) -> None: ...


def field_values(cls: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a dataclass's fields from a mapping of all of them; lists become tuples."""
    named = {field.name for field in fields(cls)}
    if set(settings) != named:
        raise BadInput(
            f"a cell needs exactly the settings {sorted(named)}; found {sorted(settings)}"
        )
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }


def by_part(state: Weights) -> dict[str, Weights]:
    """Tensors named ``PART/NAME``, by part."""
    parts: dict[str, Weights] = {}
    for name, tensor in state.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    return parts
