"""GANs: the distance is the closed form, the feeds differ in what meets in a batch, runs resume."""

import dataclasses

import pytest
import torch

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.gans.cell import GanCell
from bnblind.experiments.gans.frechet import frechet_distance
from bnblind.experiments.gans.training import GanTrainer, judge

CELL = GanCell.from_settings(
    {
        **{"dataset": "digits", "norm": "bn", "batching": "random", "feed": "apart", "width": 8},
        **{"latent": 4, "lr": 0.001, "batch_size": 64, "epochs": 2, "interval": 1, "samples": 3},
        **{"seeds": [0], "optimizer": {"name": "adam", "betas": [0.5, 0.999]}},
    }
)


def normal(mean: list[float], scale: list[float], seed: int, n: int = 50) -> torch.Tensor:
    """Features whose empirical mean and covariance are exactly ``mean`` and diag(scale^2)."""
    x = torch.randn(n, len(mean), generator=torch.Generator().manual_seed(seed)).double()
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T
    return white * torch.tensor(scale).double() + torch.tensor(mean).double()


def test_the_distance_of_normals_with_diagonal_covariances() -> None:
    """By hand: |mu - mu'|^2 + sum (s - s')^2 = 9 + (1 - 3)^2 + (2 - 2)^2 = 13."""
    a, b = normal([0, 0], [1, 2], 0), normal([3, 0], [3, 2], 1)
    assert frechet_distance(a, b) == pytest.approx(13)
    assert frechet_distance(b, a) == pytest.approx(13)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_the_distance_does_not_depend_on_the_axes() -> None:
    a, b = normal([0, 0, 1], [1, 2, 0.5], 0), normal([3, 0, 0], [3, 2, 1], 1)
    turn, _ = torch.linalg.qr(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(2)).double()
    )
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b))


@pytest.mark.parametrize(("feed", "meet"), [("apart", False), ("mixed", True)])
def test_feeds_say_which_images_share_statistics(feed: str, meet: bool, digits: Dataset) -> None:
    """With BN the logits of real images depend on generated ones that are beside them."""
    trainer = GanTrainer(dataclasses.replace(CELL, feed=feed), 0, digits)
    trainer.model.train()
    real, fake = digits.train.images[:16], digits.train.images[16:32]
    alone, _ = trainer.judged(real, fake)
    beside, _ = trainer.judged(real, 3 * fake)
    assert torch.equal(alone, beside) != meet


def test_a_discriminator_without_batch_statistics_sees_no_difference(digits: Dataset) -> None:
    cells = [dataclasses.replace(CELL, norm="ln", feed=feed) for feed in ("apart", "mixed")]
    real, fake = digits.train.images[:16], digits.train.images[16:32]
    found = [torch.cat(GanTrainer(cell, 0, digits).judged(real, fake)) for cell in cells]
    torch.testing.assert_close(*found)


def test_each_step_moves_one_network(digits: Dataset) -> None:
    """The generator's images are detached in the discriminator's step, and the other way round."""
    trainer = GanTrainer(dataclasses.replace(CELL, epochs=1), 0, digits)
    before = trainer.copied_weights()
    trainer.optimizers["generator"].lr = 0.0
    trainer.advance()
    moved = {
        name.partition(".")[0]
        for name, tensor in trainer.model.state_dict().items()
        if "running" not in name and not torch.equal(tensor, before[name])
    }
    assert moved == {"discriminator"}


def test_a_run_goes_on_to_the_same_bits(digits: Dataset) -> None:
    straight, second = GanTrainer(CELL, 3, digits), GanTrainer(CELL, 3, digits)
    straight.advance()
    kept = {name: tensor.clone() for name, tensor in straight.state().items()}
    rows = [*straight.run.metrics]
    straight.advance()
    second.resume(kept, dataclasses.replace(straight.run, metrics=rows, weights={}), 1)
    second.advance()
    assert second.run.metrics == straight.run.metrics
    ours, theirs = straight.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_is_measured_leaves_the_run_as_it_was(digits: Dataset) -> None:
    trainer = GanTrainer(CELL, 0, digits)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    share = trainer.blocked()
    assert share is not None
    assert 0 < share < 1
    after = trainer.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(parameter.grad.any() for parameter in trainer.model.parameters())
    assert GanTrainer(dataclasses.replace(CELL, norm="ln"), 0, digits).blocked() is None


def test_images_are_drawn_from_the_last_generator(digits: Dataset) -> None:
    trainer = GanTrainer(CELL, 0, digits)
    while not trainer.finished:
        trainer.advance()
    rows, images = judge(CELL, trainer.run, digits)
    assert rows == []
    assert images["generated"].shape == (3, 1, 8, 8)
    assert images["generated"].min() >= 0
    assert images["generated"].max() <= 1
    assert [row["epoch"] for row in trainer.run.metrics if row["metric"] == "test.frechet"] == [
        0,
        1,
        2,
    ]
