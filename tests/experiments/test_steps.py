"""How a training step runs: in which precision, compiled or not, in which order of memory."""

import dataclasses
import shutil
from typing import Any

import pytest
import torch

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.training import NetworkTrainer, tf32
from bnblind.norms import Norm

CELL = NetworkCell(
    dataset="digits", model="mini_vgg", norm="bn", batching="random", lr=0.01, batch_size=64,
    optimizer={"name": "sgd"}, epochs=1, seeds=(0,), snapshots=(), init="he",
)  # fmt: skip

KINDS: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
"""Of products on a GPU."""


def after_one_step(cell: NetworkCell, data: Dataset) -> dict[str, torch.Tensor]:
    trainer = NetworkTrainer(cell, 0, data)
    trainer.model.train()
    trainer.train_on(trainer.epoch_batches()[:1])
    return trainer.copied_weights()


def test_bfloat16_multiplies_and_nothing_else(digits: Dataset) -> None:
    trainer = NetworkTrainer(dataclasses.replace(CELL, precision="bfloat16"), 0, digits)
    seen: dict[str, list[torch.dtype]] = {"norms": [], "products": []}
    for layer in trainer.model.modules():
        if isinstance(layer, Norm):
            layer.register_forward_pre_hook(lambda _, x: seen["norms"].append(x[0].dtype))
        elif isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            layer.register_forward_hook(lambda *x: seen["products"].append(x[-1].dtype))
    loss, _ = trainer.loss(trainer.inputs(), trainer.epoch_batches()[0])
    assert {*seen["norms"]} == {torch.float32} == {loss.dtype}
    assert {*seen["products"]} == {torch.bfloat16}
    loss.backward()
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in trainer.model.parameters() if p.grad is not None} == {
        torch.float32
    }


def test_a_step_in_bfloat16_is_near_the_plain_one(digits: Dataset) -> None:
    plain = after_one_step(CELL, digits)
    other = after_one_step(dataclasses.replace(CELL, precision="bfloat16"), digits)
    assert 1e-7 < max((plain[name] - other[name]).abs().max().item() for name in plain) < 1e-2


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_tf32_is_allowed_in_training_steps_that_ask_for_it_and_nowhere_else(
    precision: str, digits: Dataset
) -> None:
    trainer = NetworkTrainer(dataclasses.replace(CELL, precision=precision), 0, digits)
    found: dict[str, set[bool]] = {"forward": set(), "backward": set()}

    def note(when: str) -> None:
        found[when] |= {kind.allow_tf32 for kind in KINDS}

    layer = next(m for m in trainer.model.modules() if isinstance(m, torch.nn.Conv2d))
    layer.register_forward_hook(lambda *_: note("forward"))
    layer.weight.register_hook(lambda _: note("backward"))
    asked = precision == "tf32"
    with tf32(not asked):  # a step says what it wants, whatever was before it
        trainer.train_on(trainer.epoch_batches()[:1])
        assert found == {"forward": {asked}, "backward": {asked}}
        found["forward"].clear()
        trainer.measure()
    assert found["forward"] == {not asked}


def test_images_are_channels_last_unless_they_are_asked_to_be_channels_first(
    digits: Dataset,
) -> None:
    plain = after_one_step(CELL, digits)
    cell = dataclasses.replace(CELL, execution="channels_first")
    orders = []
    for own in (CELL, cell):
        trainer = NetworkTrainer(own, 0, digits)
        orders.append(
            {
                p.is_contiguous()
                for p in trainer.model.parameters()
                if p.dim() == 4 and p.shape[1] > 1
            }
        )
    assert orders == [{False}, {True}]
    for name, tensor in after_one_step(cell, digits).items():
        assert torch.allclose(tensor, plain[name], atol=1e-5), name


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
@pytest.mark.starts_interpreter  # the compiler of C++, given Python's headers
def test_a_compiled_step_is_compiled_and_the_plain_one(digits: Dataset) -> None:
    plain = after_one_step(CELL, digits)
    trainer = NetworkTrainer(dataclasses.replace(CELL, execution="compiled"), 0, digits)
    called: list[str] = []
    next(trainer.model.children()).register_forward_hook(
        lambda *_: None if torch.compiler.is_compiling() else called.append("plain")
    )
    trainer.train_on(trainer.epoch_batches()[:1])
    assert not called
    for name, tensor in trainer.copied_weights().items():
        assert torch.allclose(tensor, plain[name], atol=1e-5), name
