"""How well the penultimate features of a classifier separate the classes.

Penultimate features are the input of the last linear layer. Three measures, from what the
features look like to what can still be read from them: the silhouette (are the classes
clusters?), the nearest class mean (are they where their means are?) and a linear probe (can
any linear layer tell them apart?).
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from torch import Tensor, nn

from bnblind.errors import BadInput
from bnblind.experiments.cells import CHUNK
from bnblind.experiments.datasets import Dataset, Part
from bnblind.experiments.networks.evaluation import batches_of, measured_in_training
from bnblind.experiments.randomness import stream_seed
from bnblind.norms import BatchStatistics, RunningAverages

Array = NDArray[np.float64]

PROBE_STEPS = 1000
PERPLEXITY = 30
TSNE_STEPS = 500


def classifier_of(model: nn.Module) -> nn.Linear:
    """The last linear layer; raises BadInput if the model has none."""
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise BadInput(f"{type(model).__name__} has no linear layer, so no penultimate features")
    return linear[-1]


def modes_of(model: nn.Module) -> tuple[str, ...]:
    """``eval``, and ``random`` (training mode, random batches) where that is another function."""
    by_batch = any(
        isinstance(layer, BatchStatistics | RunningAverages) for layer in model.modules()
    )
    return ("eval", "random") if by_batch else ("eval",)


def penultimate(
    model: nn.Module, part: Part, mode: str, batch_size: int, seed: int, chunk: int = CHUNK
) -> Tensor:
    """Penultimate features (n, D) of ``part``, samples in its order, taken on the batches of
    :func:`bnblind.experiments.networks.evaluation.evaluate`; the model is left as found.
    """
    seen: list[Tensor] = []
    batches = batches_of(part, mode, batch_size, seed, chunk)
    model = copy.deepcopy(model)
    model.eval() if mode == "eval" else measured_in_training(model)
    classifier_of(model).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        for batch in batches:
            model(part[batch])
    features = torch.cat(seen)
    return torch.empty_like(features).index_copy_(0, torch.cat(batches), features)


def silhouette(features: Array, labels: NDArray[np.int64]) -> float:
    """Mean silhouette of the classes (Rousseeuw 1987), in [-1, 1], Euclidean distances; 0 of
    features (n, D) that are all the same.
    """
    # Counted from one of the points: scikit-learn's distances cancel badly far from the origin.
    return float(silhouette_score(features - features[0], labels))


def nearest_class_mean(
    train: Array, train_labels: NDArray[np.int64], test: Array, test_labels: NDArray[np.int64]
) -> float:
    """Share of the test features (m, D) that lie nearest to their own class's training mean."""
    classes = np.unique(train_labels)
    means = np.stack([train[train_labels == c].mean(0) for c in classes])
    # |f - m|^2 without |f|^2, which is the same for every class.
    distances = (means**2).sum(1) - 2 * test @ means.T
    return float((classes[distances.argmin(1)] == test_labels).mean())


def linear_probe(
    train: Array, train_labels: NDArray[np.int64], test: Array, test_labels: NDArray[np.int64]
) -> tuple[float, bool]:
    """Test accuracy of a multinomial logistic regression on the features; whether it converged.

    Features are standardized with the training features' mean and standard deviation; L2 penalty
    with C = 1. The problem is convex and L-BFGS starts at 0, so no seed is needed; it has not
    converged if it takes ``PROBE_STEPS`` steps.
    """
    mean, std = train.mean(0), train.std(0)
    std[std == 0] = 1
    probe = LogisticRegression(C=1.0, max_iter=PROBE_STEPS).fit((train - mean) / std, train_labels)
    accuracy = float(probe.score((test - mean) / std, test_labels))
    return accuracy, bool(probe.n_iter_[0] < PROBE_STEPS)


def measures(
    model: nn.Module, data: Dataset, mode: str, batch_size: int, seed: int, chunk: int = CHUNK
) -> dict[str, float]:
    """The three measures of test features; class means and probe come from training features:
    ``silhouette``; ``ncm`` and ``probe``, accuracies as shares; ``probe.converged``, 0 or 1.
    """
    train, test = (
        penultimate(model, part, mode, batch_size, seed, chunk).double().numpy()
        for part in (data.train, data.test)
    )
    train_labels, test_labels = data.train.labels.numpy(), data.test.labels.numpy()
    accuracy, converged = linear_probe(train, train_labels, test, test_labels)
    return {
        "silhouette": silhouette(test, test_labels),
        "ncm": nearest_class_mean(train, train_labels, test, test_labels),
        "probe": accuracy,
        "probe.converged": float(converged),
    }


def embed(features: Array, seed: int) -> Array:
    """t-SNE (van der Maaten & Hinton 2008) of features (n, D) in the plane, (n, 2).

    Starts from the first two principal components. Features that are all the same, in which
    scikit-learn's t-SNE crashes, stay in one point, the origin. Raises BadInput if there are not
    more samples than the perplexity.
    """
    if len(features) <= PERPLEXITY:
        raise BadInput(f"t-SNE needs more than {PERPLEXITY} samples; found {len(features)}")
    if not np.ptp(features, axis=0).any():
        return np.zeros((len(features), 2))
    own = stream_seed(seed, "tsne") % 2**32
    plane = TSNE(perplexity=PERPLEXITY, max_iter=TSNE_STEPS, init="pca", random_state=own, n_jobs=1)
    return plane.fit_transform(features).astype(np.float64)
