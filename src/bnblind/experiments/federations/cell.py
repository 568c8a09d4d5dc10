"""The cell of a federation."""

from dataclasses import dataclass

from bnblind.experiments.cells import Cell, identity


@dataclass(frozen=True, kw_only=True)
class FederatedCell(Cell):
    """What defines the runs of federated averaging; an epoch is a round.

    Attributes:
        model: name of the network.
        classes_per_client: how many classes a client has samples of.
        clients: how many there are.
    """

    model: str = identity(1)
    classes_per_client: int = identity(4, axis="classes_per_client", compared=True)
    clients: int

    def kept_epochs(self, found: list[int]) -> list[int]:
        """None: only results are kept."""
        return []


CELL = FederatedCell
