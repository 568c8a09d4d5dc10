"""How large the training of a cell is, from shapes alone: on torch's meta device, which holds no
numbers.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell
from bnblind.experiments.federations.cell import FederatedCell
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.flows.realnvp import build_flow
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.models import build_model


@dataclass(frozen=True)
class Footprint:
    """Bytes of a network.

    Attributes:
        weights: parameters and buffers, as a run keeps them of an epoch.
        step: what a training step holds at least, at the end of its forward pass: parameters, and
            what is saved for the backward pass; without gradients, the optimizer's state, data
            and program.
    """

    weights: int
    step: int


def _bytes(tensors: Iterable[Tensor]) -> int:
    """What lies in memory for these; once for all views of the same."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({StorageWeakRef(storage): storage.nbytes() for storage in storages}.values())


def of_network(model: nn.Module, batch: tuple[int, ...]) -> Footprint:
    """Of a model that is trained on batches of this shape; moves it to the meta device."""
    model.to("meta").train()
    held: list[Tensor] = [*model.parameters()]

    def save(tensor: Tensor) -> Tensor:
        held.append(tensor)
        return tensor

    with (
        suppress(RuntimeError),  # a forward pass that reads numbers: what came before it counts
        torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor),
    ):
        model(torch.empty(batch, device="meta"))
    return Footprint(_bytes(model.state_dict().values()), _bytes(held))


@cache
def _built(
    build: Callable[..., nn.Module],
    words: tuple[Any, ...],
    options: tuple[tuple[str, Any], ...],
    batch: tuple[int, ...],
) -> Footprint | BadInput:
    """Once for all cells with the network."""
    # A flow reads its masks, which hold nothing on the meta device.
    with torch.device("cpu" if build is build_flow else "meta"):
        try:
            return of_network(build(*words, **dict(options)), batch)
        except BadInput as error:
            return error


def footprint(cell: Cell, dataset: Mapping[str, Any], pool: int) -> Footprint | None:
    """Of a cell; None of a kind that is always small.

    Args:
        dataset: as the registry describes it.
        pool: by how much its images are reduced.

    Raises:
        BadInput: there is no such network: too deep for the images, a norm that is not defined for
            its features, a width that it does not have, images that a flow cannot halve.
    """
    channels, *sides = dataset["shape"]
    shape = (channels, *(side // pool for side in sides))
    batch = (cell.batch_size, *shape)
    build: Callable[..., nn.Module]
    words: tuple[Any, ...]
    if isinstance(cell, FlowCell):
        build, words = build_flow, (cell.coupling, shape)
        names = ("couplings", "width", "depth", "norm", "coupling_norm", "constraint")
        options = {name: getattr(cell, name) for name in names}
    elif isinstance(cell, NetworkCell | FederatedCell):
        build, words = build_model, (cell.model, cell.norm, shape, dataset["classes"])
        options = {"init": cell.init, **cell.options} if isinstance(cell, NetworkCell) else {}
    else:
        return None
    found = _built(build, words, tuple(options.items()), batch)
    if isinstance(found, BadInput):
        raise BadInput(f"{cell.dataset}, {words[0]}: {found}")
    return found


def footprints(
    training: Mapping[str, Iterable[Cell]], config: Mapping[str, Any], datasets: Mapping[str, Any]
) -> tuple[list[tuple[str, Cell, Footprint]], list[str]]:
    """Of the cells of each job, beside the job's name; and a line for each network that cannot be
    built. ``datasets`` is the registry.
    """
    found, refused = list[tuple[str, Cell, Footprint]](), set[str]()
    for job, cells in training.items():
        for cell in cells:
            pool = config["data"][cell.dataset].get("pool", 1)
            try:
                own = footprint(cell, datasets[cell.dataset], pool)
            except BadInput as error:
                refused.add(str(error))
            else:
                found += [(job, cell, own)] if own else []
    return found, sorted(refused)
