"""Loss and accuracy of a classifier in the three modes of the experiments.

``eval``: evaluation mode. ``random`` and ``label``: training mode, so that batch norm takes its
statistics from the batch, on random and on label-pure batches; nothing is dropped out. The model is
left as found.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bnblind.experiments.batching import Batches, make_batches
from bnblind.experiments.datasets import Part
from bnblind.experiments.networks.cell import CHUNK, NetworkCell
from bnblind.experiments.networks.losses import training_loss
from bnblind.experiments.randomness import stream


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Put back every buffer and every module's mode afterwards."""
    buffers = [(b, b.clone()) for b in model.buffers()]
    modes = [(m, m.training) for m in model.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
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
) -> tuple[float, float]:
    """Mean loss per sample in nats, and accuracy as a share, of ``model`` on ``part`` in a mode of
    ``MODES``: in training mode on batches whose order ``seed`` sets, the same at every call; in
    evaluation mode ``chunk`` samples at once.
    """
    of_logits, total, correct = training_loss(loss), 0.0, 0.0
    with preserved(model), torch.no_grad():
        model.eval() if mode == "eval" else measured_in_training(model)
        for batch in batches_of(part, mode, batch_size, seed, chunk):
            logits, labels = model(part[batch]), part.labels[batch]
            total += of_logits(logits, labels, "sum").item()
            correct += (logits.argmax(1) == labels).sum().item()
    return total / len(part), correct / len(part)
