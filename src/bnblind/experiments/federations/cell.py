"""The cell of a federation."""

from dataclasses import dataclass

from bnblind.experiments.cells import Cell, identity


@dataclass(frozen=True, kw_only=True)
class FederatedCell(Cell):
    """What defines the runs of federated averaging over ``clients`` that have samples of
    ``classes_per_client`` classes each; an epoch is a round.
    """

    model: str = identity(1)
    classes_per_client: int = identity(4, axis="classes_per_client", compared=True)
    clients: int

    def kept_epochs(self, found: list[int]) -> list[int]:
        """None: only results are kept."""
        return []


CELL = FederatedCell
