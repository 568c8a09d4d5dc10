"""The Taylor split at the normalization layers of trained networks, on batches of real data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

from torch import Tensor, nn

from bnblind.errors import BadInput
from bnblind.experiments.batching import make_batches
from bnblind.experiments.datasets import Dataset, Part
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.evaluation import measured_in_training
from bnblind.experiments.networks.losses import split_loss_of
from bnblind.experiments.networks.models import kept_model
from bnblind.experiments.randomness import stream
from bnblind.layers import normalization_layers
from bnblind.model_split import split_loss
from bnblind.norms import Norm, average_statistics
from bnblind.norms.bn import BatchNorm
from bnblind.shares import blocked
from bnblind.split import PARTS, Split


@dataclass(frozen=True)
class Probing:
    """On what to measure: so many batches of each batching, of training images, and at how many of
    a network's norm layers, evenly from the first to the last; all if None. A batching's last,
    short batch is never among them.
    """

    batchings: tuple[str, ...]
    batch_size: int
    batches: int
    layers: int | None = None

    def draw(self, part: Part, seed: int) -> Iterator[tuple[str, int, Tensor, Tensor]]:
        """Batching, number, images and labels of each batch; the same for every network."""
        for batching in self.batchings:
            order = stream(seed, "derivatives", batching)
            drawn = make_batches(batching, part.labels, self.batch_size, order)
            whole = [batch for batch in drawn if len(batch) == self.batch_size]
            if not whole:
                raise BadInput(
                    f"batch_size: found {self.batch_size}, at batching {batching}; allowed: at "
                    f"most that of the longest batch, {max(map(len, drawn))}"
                )
            for number, batch in enumerate(whole[: self.batches]):
                yield batching, number, part[batch], part.labels[batch]

    def places(self, model: nn.Module) -> list[str]:
        """The norm layers at which to split."""
        names = normalization_layers(model)
        if self.layers is None or self.layers >= len(names):
            return names
        return [names[round(k * (len(names) - 1) / (self.layers - 1))] for k in range(self.layers)]


def trained_model(cell: NetworkCell, data: Dataset, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network with the weights of some epoch, in training mode without dropout; its running
    statistics are those of the training images, since the averages of training lag behind, and at
    initialization say nothing.
    """
    built = kept_model(cell, data, weights)
    average_statistics(built, data.train.chunks(cell.chunk))
    return measured_in_training(built)


def split_at(
    model: nn.Module, layer: str, images: Tensor, labels: Tensor, loss: str = NetworkCell.loss
) -> Split:
    """The split at the batch mean; later layers with batch statistics are frozen. Where LN, GN or
    IN follow the layer, the rest of the network is curved, and the Hessian's diagonal is computed
    however long it takes.
    """
    layers = normalization_layers(model)
    behind = [model.get_submodule(name) for name in layers[layers.index(layer) + 1 :]]
    curved = any(isinstance(norm, Norm) and norm.within_sample for norm in behind)
    hdiag = "exact" if curved else "auto"
    own = split_loss_of(loss)
    return split_loss(model, layer, images, labels, loss=own, downstream="frozen", hdiag=hdiag)


def describe(split: Split, layer: nn.Module) -> dict[str, Any]:
    """A split in numbers.

    ``y.A.B`` and ``x.A.B`` are the inner products of the terms A and B after and before the
    layer; ``passing.A`` is the share |sigma dX|^2 / |dY|^2 of term A's squared gradient that
    passes the layer, and for batch norm ``mean.A`` and ``scale.A`` are what its centering and
    its scaling block (T4); also for ``second``, the second-order terms as one. ``passing.parts``
    counts their squared gradients separately, and ``of_whole.second`` is what passes of them as
    one, as a share of the whole squared gradient |dY|^2. NaN where a term is zero.
    """
    row: dict[str, Any] = {"method": split.method, "kinks": split.kinks}
    for side, gram in (("y", split.gram_y), ("x", split.gram_x)):
        assert gram is not None
        for i, a in enumerate(PARTS):
            for j, b in enumerate(PARTS[: i + 1]):
                row[f"{side}.{b}.{a}"] = gram[i, j].item()
    gradients = {part: getattr(split, part) for part in PARTS}
    gradients["second"] = split.diag + split.offdiag
    for part, G in gradients.items():
        if isinstance(layer, BatchNorm):
            shares = blocked(G, split.y).layer()
            row |= {
                f"{name}.{part}": getattr(shares, name).item()
                for name in ("mean", "scale", "passing")
            }
        else:
            assert split.carry is not None
            assert split.sigma is not None
            through = (split.sigma * split.carry(G)).square().sum()
            row |= {f"passing.{part}": (through / G.square().sum()).item()}
    lengths = {part: G.square().sum().item() for part, G in gradients.items()}
    passes = {part: row[f"passing.{part}"] * lengths[part] for part in gradients}
    both = lengths["diag"] + lengths["offdiag"]
    row["passing.parts"] = (passes["diag"] + passes["offdiag"]) / both if both else nan
    whole = lengths["total"]
    row["of_whole.second"] = passes["second"] / whole if whole else nan
    return row
