"""How large the training of a cell is, from shapes alone: its network runs on torch's meta device,
which holds no numbers.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode

from bnblind.errors import BadInput
from bnblind.experiments.cells import Cell
from bnblind.experiments.federations.cell import FederatedCell
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.flows.realnvp import build_flow
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.models import build_model
from bnblind.pipeline.artifacts import TrainingJob

FEW = 2
"""Samples of a batch, where only whether a network runs is asked."""
MANY = 128
"""Samples of a batch that count, where it is not known how many samples a class has."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a network.

    Attributes:
        weights: parameters and buffers, as a run keeps them of an epoch.
        step: what a training step holds at least, when its forward pass ends: parameters, and what
            is saved for the backward pass.
        measuring: what a forward pass in evaluation mode holds at least: the inputs and outputs of
            its largest layer.
    """

    weights: int
    step: int
    measuring: int = 0


def _bytes(tensors: Iterable[Any]) -> int:
    """What lies in memory for these; once for all views of the same."""
    storages = [own.untyped_storage() for own in tensors if isinstance(own, Tensor)]
    return sum({StorageWeakRef(storage): storage.nbytes() for storage in storages}.values())


class _Attention(TorchFunctionMode):
    """Whether a network has any."""

    seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen |= func in (F.scaled_dot_product_attention, F.multi_head_attention_forward)
        return func(*args, **(kwargs or {}))


def step_bytes(model: nn.Module, x: Tensor) -> int:
    """Of a training step on the inputs x: parameters, and what its forward pass saves; of a network
    with attention the parameters alone, since the processor saves less than the meta device does.
    """
    saved: list[Tensor] = []

    def save(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(save, lambda own: own), _Attention() as attention:
        model(x)
    return _bytes([*model.parameters(), *([] if attention.seen else saved)])


def measuring_bytes(model: nn.Module, x: Tensor) -> int:
    """Of a forward pass in evaluation mode on the inputs x: the largest module's, which has its
    inputs until it returns.
    """
    found = [0]
    hook = register_module_forward_hook(lambda _, args, z: found.append(_bytes([*args, z])))
    with hook, torch.no_grad():
        model.eval()(x)
    return max(found)


@cache
def _built(
    build: Callable[..., nn.Module],
    words: tuple[Any, ...],
    options: tuple[tuple[str, Any], ...],
    shape: tuple[int, ...],
    samples: int,
    measured: int,
) -> Footprint | BadInput:
    """Once for all cells with the network: in steps of so many samples, and so many ``measured`` at
    once; or why there is no such network.
    """
    try:
        # A flow reads its masks, which hold nothing on the meta device.
        with torch.device("cpu" if build is build_flow else "meta"):
            model = build(*words, **dict(options))
        model.to("meta")
        empty = [torch.empty(count, *shape, device="meta") for count in (samples, measured)]
        step, measuring = step_bytes(model, empty[0]), measuring_bytes(model, empty[1])
        return Footprint(_bytes(model.state_dict().values()), step, measuring)
    except BadInput as error:
        return error
    except Exception:  # it may be that the network reads numbers, of which there are none
        return _tried(partial(build, *words, **dict(options)), shape)


def _tried(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> Footprint | BadInput:
    """On the processor: whether the network runs; of what it holds the parameters alone."""
    try:
        model = build()
        model(torch.rand(FEW, *shape))
    except Exception as error:  # whatever a network of one's own may raise
        return BadInput(f"{type(error).__name__}: {error}")
    return Footprint(_bytes(model.state_dict().values()), _bytes(model.parameters()))


def footprint(cell: Cell, data: Mapping[str, Any], dataset: Mapping[str, Any]) -> Footprint | None:
    """Of a cell; None of a kind that is not counted.

    Args:
        data: how the profile prepares the data set.
        dataset: as the registry describes it.

    Raises:
        BadInput: there is no such network: too deep for the images, a norm that is not defined for
            its features, a width that it does not have, images that a flow cannot halve.
    """
    channels, *sides = dataset["shape"]
    shape = (channels, *(side // data.get("pool", 1) for side in sides))
    # A batch may be no larger than a class.
    of_class = data["train"] // dataset["classes"] if "train" in data else MANY
    samples, measured, whole = min(cell.batch_size, of_class), FEW, True
    build: Callable[..., nn.Module]
    words: tuple[Any, ...]
    options: dict[str, Any] = {}
    if isinstance(cell, FlowCell):
        name, build, words = f"flow {cell.coupling}", build_flow, (cell.coupling, shape)
        names = ("couplings", "width", "depth", "norm", "coupling_norm", "constraint")
        options = {name: getattr(cell, name) for name in names}
    elif isinstance(cell, NetworkCell):
        name, build = cell.model, build_model
        words = (cell.model, cell.norm, shape, dataset["classes"])
        options = {"init": cell.init, **cell.options}
        measured = min(cell.chunk, dataset.get("tested", FEW))
        whole = cell.precision != "bfloat16" and cell.execution != "compiled"
    elif isinstance(cell, FederatedCell):
        name, build = cell.model, build_model
        words = (cell.model, cell.norm, shape, dataset["classes"])
        samples = FEW  # a client may have no more
    else:
        return None
    found = _built(build, words, tuple(options.items()), shape, max(samples, FEW), measured)
    if isinstance(found, BadInput):
        raise BadInput(f"{cell.dataset}, {name}: {found}")
    return found if whole else replace(found, step=found.weights)


@dataclass
class Expected:
    """Of jobs that train.

    Attributes:
        sizes: file of weights -> bytes.
        needs: rule -> megabytes of memory that its largest job takes at least on the processor,
            and what tells so.
        refused: a line for each network that cannot be built.
    """

    sizes: Counter[str] = field(default_factory=Counter)
    needs: dict[str, tuple[float, str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

    def add(self, job: TrainingJob, cell: Cell, own: Footprint) -> None:
        if job.weights:
            self.sizes[job.weights] += own.weights * len(cell.seeds) * len(cell.kept_epochs([]))
        if cell.device != Cell.device:
            return
        name = cell.name(cell.seeds[0])
        ways = {
            f"a training step of {name}": (own.step / 1e6, "batch_size"),
            f"a chunk in the evaluation of {name}": (own.measuring / 1e6, "chunk"),
        }
        for what, (mb, word) in ways.items():
            if mb > self.needs.get(job.rule, (0.0, ""))[0]:
                told = f"{what} holds at least {mb:.0f} MB; allowed: a machine with more, or a "
                self.needs[job.rule] = mb, f"{told}smaller {word}"


def expected(
    jobs: Iterable[TrainingJob], config: Mapping[str, Any], datasets: Mapping[str, Any]
) -> Expected:
    """What the jobs take; ``datasets`` is the registry."""
    found = Expected()
    for job in jobs:
        for cell in job.cells:
            try:
                own = footprint(cell, config["data"][cell.dataset], datasets[cell.dataset])
            except BadInput as error:
                found.refused.add(str(error))
            else:
                if own:
                    found.add(job, cell, own)
    return found
