"""The cell of a flow: one pair of classes."""

from dataclasses import dataclass

from bnblind.experiments.cells import Cell, identity


@dataclass(frozen=True, kw_only=True)
class FlowCell(Cell):
    """What defines the runs of a flow.

    Attributes:
        coupling, couplings, width, depth, coupling_norm, constraint: see
            :func:`bnblind.experiments.flows.realnvp.build_flow`.
        scale_regularization: weight of the squared gains in the loss.
        patience: epochs without a better validation likelihood after which training ends; 0: it
            does not end early.
        mixtures: pairs of images to mix for the interpolation curve.
    """

    pair: tuple[int, int] = identity(1, axis="pairs", compared=True)
    coupling: str = identity(2)
    coupling_norm: str = identity(4, axis="coupling_norms", own_job=True)
    couplings: int
    width: int
    depth: int
    constraint: float
    scale_regularization: float
    patience: int
    mixtures: int
    samples: int

    summary = "flows"

    def kept_epochs(self, found: list[int]) -> list[int]:
        """One, the best; which one only the training knows."""
        return found[:1] or [1]


CELL = FlowCell
