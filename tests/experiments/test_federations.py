"""Federated averaging: who has which samples, what is averaged, and that rounds repeat."""

import dataclasses

import pytest
import torch

from bnblind import BadInput
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.federations.cell import FederatedCell
from bnblind.experiments.federations.training import FederatedTrainer, averaged, deal
from bnblind.experiments.optimizers import SGD

CELL = FederatedCell.from_settings(
    {
        **{"dataset": "digits", "model": "mlp", "norm": "bn", "batching": "random", "lr": 0.01},
        **{"classes_per_client": 1, "clients": 10, "batch_size": 16, "epochs": 2, "seeds": [0]},
        "optimizer": {"name": "sgd", "momentum": 0.9},
    }
)


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("clients", [10, 13])
def test_every_sample_belongs_to_one_client(count: int, clients: int, digits: Dataset) -> None:
    labels = digits.train.labels
    own = deal(labels, clients, count, torch.Generator().manual_seed(0))
    assert torch.cat(own).sort().values.tolist() == list(range(len(labels)))
    assert [len(labels[rows].unique()) for rows in own] == [count] * clients
    holders = [sum(bool((labels[rows] == 3).any()) for rows in own)]
    assert holders[0] >= count
    shares = [int((labels[rows] == 3).sum()) for rows in own if bool((labels[rows] == 3).any())]
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(("clients", "count"), [(9, 1), (10, 0), (10, 11)])
def test_clients_that_leave_a_class_out_are_refused(
    clients: int, count: int, digits: Dataset
) -> None:
    with pytest.raises(BadInput, match="allowed: at least 10 clients, with 1 to 10 classes"):
        deal(digits.train.labels, clients, count, torch.Generator())


def test_networks_are_averaged_by_their_samples() -> None:
    weights = [{"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([5.0, 10.0])}]
    assert averaged(weights, [0.75, 0.25])["w"].tolist() == [2.0, 4.0]


def test_a_round_by_hand(digits: Dataset) -> None:
    """Every client starts from the common network with an optimizer of its own, and the averages
    hold running statistics, too. One batch per client: one plain step.
    """
    largest = max(int(n) for n in digits.train.labels.bincount())
    cell = dataclasses.replace(CELL, batch_size=largest, epochs=1)
    trainer = FederatedTrainer(cell, 0, digits)
    start = trainer.copied_weights()
    found, sizes = [], []
    for rows in trainer.clients:
        trainer.model.load_state_dict(start)
        trainer.model.train()
        optimizer = SGD(trainer.model.parameters(), lr=0.01, momentum=0.9)
        optimizer.zero_grad()
        images, labels = digits.train.images[rows], digits.train.labels[rows]
        torch.nn.functional.cross_entropy(trainer.model(images), labels).backward()
        optimizer.step()
        found.append(trainer.copied_weights())
        sizes.append(len(rows))
    expected = {
        name: sum(n / sum(sizes) * own[name] for n, own in zip(sizes, found, strict=True))
        for name in start
    }
    second = FederatedTrainer(cell, 0, digits)
    second.advance()
    for name, tensor in second.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    assert any("running_mean" in name for name in expected)


def test_recalibration_is_of_a_copy_and_of_all_data(digits: Dataset) -> None:
    trainer = FederatedTrainer(CELL, 0, digits)
    before = trainer.copied_weights()
    fresh = trainer.recalibrated()
    assert all(torch.equal(t, before[n]) for n, t in trainer.model.state_dict().items())
    hidden = fresh[1](digits.train.images.flatten(1))
    torch.testing.assert_close(fresh[2].running_mean, hidden.mean(0), rtol=1e-4, atol=1e-5)


def test_a_round_is_not_left_half_done(digits: Dataset) -> None:
    """Within it a client's network is trained, which is not what a checkpoint holds."""
    trainer = FederatedTrainer(CELL, 0, digits)
    trainer.after_step = pytest.fail
    trainer.advance()


def test_a_run_goes_on_to_the_same_bits(digits: Dataset) -> None:
    straight, second = (FederatedTrainer(CELL, 3, digits) for _ in range(2))
    straight.advance()
    kept = {name: tensor.clone() for name, tensor in straight.state().items()}
    run = dataclasses.replace(straight.run, metrics=[*straight.run.metrics])
    straight.advance()
    second.resume(kept, run, 1)
    second.advance()
    assert second.run.metrics == straight.run.metrics
    assert second.run.batch_order == straight.run.batch_order
