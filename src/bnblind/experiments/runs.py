"""The results of one seed of any cell."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Weights = dict[str, Tensor]


@dataclass
class Run:
    """Results of one seed: ``metrics`` one row per (epoch, metric), ``weights`` by epoch, and
    ``batch_order``, the hash of the training batches of all epochs so far, see ``order_hash``.
    """

    seed: int
    metrics: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[int, Weights] = field(default_factory=dict)
    batch_order: str = ""

    def record(self, epoch: int, name: str, **values: float) -> None:
        """One row per value, its metric called ``name.KEY``."""
        self.metrics += [
            {"epoch": epoch, "metric": f"{name}.{key}", "value": value}
            for key, value in values.items()
        ]


def by_part(state: Weights) -> dict[str, Weights]:
    """Tensors named ``PART/NAME``, by part."""
    parts: dict[str, Weights] = {}
    for name, tensor in state.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    return parts
