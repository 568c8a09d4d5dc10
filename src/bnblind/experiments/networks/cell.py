"""The cell of a classifier."""

from dataclasses import dataclass
from typing import Any

from bnblind.errors import BadInput
from bnblind.experiments.cells import CHUNK, LAST, Cell, identity

PRECISIONS = ("float32", "tf32", "bfloat16")
"""In which a training step multiplies matrices and convolves; weights and norms are float32. In
TF32 a GPU rounds mantissas to 10 bits before it multiplies them."""

EXECUTIONS = ("eager", "compiled", "channels_first")
"""How a training step runs: operation by operation, as torch's compiler fuses it, or operation by
operation with images, also where they are measured meanwhile, in memory channel by channel
(torch.contiguous_format), which are otherwise channels-last."""

MODES = ("eval", "random", "label")
"""Of measuring a classifier, see :mod:`bnblind.experiments.networks.evaluation`."""


@dataclass(frozen=True, kw_only=True)
class NetworkCell(Cell):
    """What defines the runs of a classifier.

    Attributes:
        weight_decay: in place of the optimizer's own.
        init: how the weights start, a name of ``INITS``.
        width, dropout: of the network, where it has them; its own if None.
        split: which samples are in which part, a name of ``SPLITTINGS``.
        augment: random changes of the training images, a name of ``AUGMENTATIONS``.
        precision: of the training steps, of ``PRECISIONS``; all is measured in float32.
        execution: of the training steps, of ``EXECUTIONS``.
        snapshots: epochs whose weights are kept, besides the initial and the last ones.
        probed: training batches on which to measure, before and after training, what batch norm
            blocks.
        features: whether to measure, before and after training, the features before the first norm
            and what of the gradient is blocked wherever BN's backward pass acts.
        course: whether every epoch is measured, and those whose weights are kept in all modes;
            otherwise the last three are, in evaluation mode.
        chunk: samples that go through the network at once where nothing is trained.
        evaluated: of a part that are measured before the last epoch, its first ones, all if None;
            other modes than ``eval`` are then left to the test images at the end.
    """

    model: str = identity(1)
    lr: float = identity(6, axis="learning_rates")
    loss: str = identity(7, default="cross_entropy")
    weight_decay: float | None = identity(8, axis="weight_decays", compared=True, default=None)
    init: str = identity(9, default="torch")
    split: str = identity(10, default="prepared")
    width: int | None = identity(11, default=None)
    dropout: float | None = identity(12, default=None)
    augment: str = identity(13, default="none")
    precision: str = identity(14, default=PRECISIONS[0])
    execution: str = identity(15, default=EXECUTIONS[0])
    snapshots: tuple[int, ...]
    probed: int = 0
    features: bool = False
    course: bool = True
    chunk: int = CHUNK
    evaluated: int | None = None

    def __post_init__(self) -> None:
        late = [epoch for epoch in self.snapshots if epoch > self.epochs]
        if late:
            raise BadInput(f"snapshots {late} lie after the last epoch, {self.epochs}")

    @property
    def options(self) -> dict[str, Any]:
        """Of :func:`bnblind.experiments.networks.models.build_model`."""
        given = {"width": self.width, "dropout": self.dropout}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def optimizer_settings(self) -> dict[str, Any]:
        own = {} if self.weight_decay is None else {"weight_decay": self.weight_decay}
        return {**self.optimizer, **own}

    def modes(self, part: str, epoch: int) -> tuple[str, ...]:
        """In which to measure a part after an epoch, names of ``MODES``."""
        ended = part == "test" and epoch == self.epochs
        if self.course and (ended if self.evaluated else epoch in self.kept_epochs([])):
            return MODES
        return MODES[:1] if self.course or epoch > self.epochs - LAST else ()

    def kept_epochs(self, found: list[int]) -> list[int]:
        """The start, the snapshots and the end."""
        return sorted({0, *self.snapshots, self.epochs})


CELL = NetworkCell
