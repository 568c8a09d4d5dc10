"""The authors' settings in full: every network of the profile `paper` trains at its full width."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from bnblind.experiments.datasets import Dataset, Part, scale_of
from bnblind.experiments.flows.training import FlowTrainer
from bnblind.experiments.networks.training import NetworkTrainer
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from tests.conftest import ROOT

TRAINERS: dict[str, Any] = {"networks": NetworkTrainer, "flows": FlowTrainer}
PAPER = read_yaml(ROOT / "config/paper.yaml")
GRIDS = [
    (section, grid, norm)
    for section in ("classification", "flows")
    for grid in PAPER[section]
    for norm in PAPER[section][grid]["norms"]
    if not grid.endswith("-random")  # the same flows, in fewer steps an epoch
]
FEW = 4


def noise(dataset: str, count: int) -> Dataset:
    """Random images of the data set's shape, all classes in turn."""
    entry = datasets()[dataset]
    generator, size = torch.Generator().manual_seed(0), (count, *entry["shape"])
    pixels = torch.randint(0, entry["levels"], size, generator=generator).byte()
    part = Part(pixels, torch.arange(count) % entry["classes"], scale_of(pixels, entry["levels"]))
    return Dataset(part, part, part)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(("section", "grid", "norm"), GRIDS)
def test_two_steps_at_full_width(section: str, grid: str, norm: str) -> None:
    """On batches of few images, which change neither the network nor the step."""
    training = experiments()[section].training
    assert training is not None
    own = next(cell for cell in training.cells(PAPER)[grid] if cell.norm == norm)
    cell = replace(own, batch_size=FEW)
    trainer = TRAINERS[training.kind](cell, cell.seeds[0], noise(cell.dataset, 12 * FEW))
    before = trainer.copied_weights()
    batches = trainer.epoch_batches()[:2]
    assert [len(batch) for batch in batches] == [FEW] * 2
    trainer.model.train()
    means = trainer.train_on(batches)
    assert all(torch.tensor(value).isfinite() for value in means.values())
    after = trainer.model.state_dict()
    moved = [name for name, old in before.items() if not torch.equal(old, after[name])]
    assert len(moved) > 10
    assert own.epochs == 100


def test_a_job_is_a_seed_so_that_a_cluster_has_something_to_share_out() -> None:
    jobs = {}
    for section in ("classification", "flows"):
        training = experiments()[section].training
        assert training is not None
        cells = [cell for own in training.cells(PAPER).values() for cell in own]
        assert {cell.jobs for cell in cells} == {"seed"}
        jobs[section] = sum(len(cell.seeds) for cell in cells)
    assert jobs == {"classification": 3 * 2 * 2 * 5, "flows": 2 * 2 * 2 * 5}


@pytest.mark.parametrize(("grid", "theirs"), [("mnist-bn", 6_336_954), ("mnist-ln", 14_428_776)])
def test_the_flows_differ_from_the_authors_by_what_is_said(grid: str, theirs: int) -> None:
    """Counted from their code: of ten couplings with 8 blocks of width 64, gains and biases of
    convolutions that they fix or leave out, and a gain for each of the features, of 28 x 28
    images six times and of their half four times, where they have a scale and a shift.
    """
    training = experiments()["flows"].training
    assert training is not None
    cell = training.cells(PAPER)[grid][0]
    built = FlowTrainer(cell, cell.seeds[0], noise(cell.dataset, 12 * FEW)).model
    gains, biases, scales = 10 * (1 + 8) * 64, 10 * 8 * 64, 6 * 784 + 4 * 392 - 2 * 10
    assert sum(p.numel() for p in built.parameters()) == theirs + gains + biases + scales


def test_label_pure_flows_take_600_batches_an_epoch_and_random_ones_a_pass() -> None:
    training = experiments()["flows"].training
    assert training is not None
    found = {
        (cell.norm, cell.batching): cell.batches_per_epoch
        for own in training.cells(PAPER).values()
        for cell in own
    }
    assert found == {
        (norm, batching): batches
        for norm in ("bn", "ln")
        for batching, batches in (("label", 600), ("random", None))
    }
