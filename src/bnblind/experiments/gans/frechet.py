"""How far generated images are from real ones: Frechet distance in a classifier's features."""

import torch
from torch import Tensor, nn

from bnblind.experiments.datasets import Dataset
from bnblind.experiments.gans.cell import CLASSIFIER_NORM
from bnblind.experiments.networks.causes import features_before
from bnblind.experiments.networks.cell import NetworkCell
from bnblind.experiments.networks.training import NetworkTrainer
from bnblind.standardization import square_root


def classifier(data: Dataset) -> nn.Module:
    """A network ``head`` without a norm, trained on the data; the same for all runs."""
    cell = NetworkCell(
        dataset="", model="head", norm=CLASSIFIER_NORM, batching="random", lr=0.01, batch_size=16,
        epochs=12, seeds=(0,), optimizer={"name": "sgd", "momentum": 0.9}, snapshots=(),
        course=False,
    )  # fmt: skip
    trainer = NetworkTrainer(cell, 0, data)
    while not trainer.finished:
        trainer.advance()
    return trainer.model


def features(classifier: nn.Module, images: Tensor) -> Tensor:
    """The 32 inputs of its last layer, (n, 32) float64, on the processor."""
    return features_before(classifier, [images]).cpu()


def _symmetric_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * square_root(values.clamp(min=1e-30)) @ vectors.T


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared 2-Wasserstein distance of the normal distributions with the means and covariances of
    two sets of features, (n, D) and (m, D) float64.

    |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2), by eigenvalues of symmetric
    matrices. Source: Heusel et al. 2017, arXiv:1706.08500.
    """
    root = _symmetric_root(torch.cov(a.T))
    inner = root @ torch.cov(b.T) @ root
    values = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp(min=1e-30)
    traces = torch.cov(a.T).trace() + torch.cov(b.T).trace() - 2 * square_root(values).sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + traces)
