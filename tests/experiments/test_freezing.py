"""Statistics that never change are taken from all training images, some at a time."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.flows.cell import FlowCell
from bnblind.experiments.flows.training import noisy, pair_parts
from bnblind.experiments.networks.cell import NetworkCell
from tests.helpers.training import CELLS

CHUNK = 64


@pytest.mark.parametrize("kind", CELLS)
def test_no_more_than_a_chunk_at_once_and_every_image_once(
    kind: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, (trainer, cell) = import_module(f"bnblind.experiments.{kind}.training"), CELLS[kind]
    if isinstance(cell, NetworkCell):
        cell = replace(cell, chunk=CHUNK)
    else:
        monkeypatch.setattr(module, "CHUNK", CHUNK)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(module, "freeze_statistics", lambda _, chunks: seen.extend(chunks))
    trainer(cell, 0, digits)
    expected = digits.train.images
    if isinstance(cell, FlowCell):
        expected = noisy(pair_parts(cell, digits)["train"], 0, "train")
    assert max(map(len, seen)) == CHUNK
    assert torch.equal(torch.cat(seen), expected)
