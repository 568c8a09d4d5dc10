"""Loss and accuracy of a classifier in the three modes of the experiments.

``eval``: evaluation mode. ``random`` and ``label``: training mode, so that batch norm takes its
statistics from the batch, on random and on label-pure batches; nothing is dropped out. The model is
left as found.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bnblind.experiments.batching import Batches, make_batches
from bnblind.experiments.cells import CHUNK
from bnblind.experiments.datasets import Part
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.losses import training_loss
from bnblind.experiments.randomness import stream
from bnblind.experiments.runs import Weights


@contextmanager
def preserved(model: nn.Module, before: Weights) -> Iterator[None]:
    """Put back every module's mode afterwards, and every buffer: as ``before`` holds it, or else as
    it is now, which ``before`` then holds; ``before`` is empty afterwards.
    """
    modes = [(m, m.training) for m in model.modules()]
    for name, buffer in model.named_buffers():
        before.setdefault(f"before/{name}", buffer.clone())
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[f"before/{name}"])
        before.clear()
        for module, training in modes:
            module.training = training


def measured_in_training(model: nn.Module) -> nn.Module:
    """The model in training mode, but for its dropout: what is measured there is not random."""
    model.train()
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    return model


def batches_of(part: Part, mode: str, batch_size: int, seed: int, chunk: int = CHUNK) -> Batches:
    """The batches in which ``mode`` shows ``part`` to a model; arguments as of :func:`evaluate`."""
    if mode == "eval":
        return [*torch.arange(len(part)).split(chunk)]
    return make_batches(mode, part.labels.cpu(), batch_size, stream(seed, "evaluation", mode))


def evaluate(
    model: nn.Module,
    part: Part,
    mode: str,
    batch_size: int,
    seed: int,
    loss: str = NetworkCell.loss,
    chunk: int = CHUNK,
    under_way: Weights | None = None,
    after_batch: Callable[[], object] = lambda: None,
) -> tuple[float, float]:
    """Mean loss per sample in nats, and accuracy as a share, of ``model`` on ``part`` in a mode of
    ``MODES``: in training mode on batches whose order ``seed`` sets, the same at every call; in
    evaluation mode ``chunk`` samples at once.

    What ``under_way`` and the model hold in ``after_batch`` is enough to go on from there, to the
    same bits; ``under_way`` is empty at the start and at the end.
    """
    of_logits, under_way = training_loss(loss), {} if under_way is None else under_way
    # Of the batches so far: their number, losses, and samples that were told right.
    sums = under_way.setdefault("sums", torch.zeros(3, dtype=torch.float64))
    with preserved(model, under_way), torch.no_grad():
        model.eval() if mode == "eval" else measured_in_training(model)
        for batch in batches_of(part, mode, batch_size, seed, chunk)[int(sums[0]) :]:
            logits, labels = model(part[batch]), part.labels[batch]
            found = of_logits(logits, labels, "sum").item()
            sums += torch.tensor([1, found, (logits.argmax(1) == labels).sum()], dtype=sums.dtype)
            after_batch()
    _, total, correct = sums.tolist()
    return total / len(part), correct / len(part)
