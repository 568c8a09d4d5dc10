"""The networks: every norm at its places, nothing that stands in the way of the analysis."""

from functools import cache

import pytest
import torch
from torch import nn

from bnblind import BadInput, split_loss
from bnblind.experiments.batching import label_batches
from bnblind.experiments.datasets import Dataset
from bnblind.experiments.networks.models import build_model
from bnblind.norms import Norm, freeze_statistics, norm_names
from tests.helpers.networks import FOR_DIGITS
from tests.helpers.norms import FOR_VECTORS, POSITIONAL
from tests.library.test_blocking import BLOCKED, TERMS

NORM_SHAPES = {
    "head": [(32,)],
    "head_relu": [(32,)],
    "mlp": [(128,), (64,)],
    "mini_vgg": [(128,)],
    "conv": [(16, 8, 8), (32, 4, 4), (32, 2, 2)],
    "resnet": [(8, 8, 8)] * 3 + [(16, 4, 4)] * 3 + [(32, 2, 2)] * 3,
}
"""Of the networks that the results are about; further ones need no entry."""


def build(model: str, norm: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(model, norm, (1, 8, 8), 10)


def images(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@cache
def shapes(model: str) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Of each norm that sees the images, in order: its own shape and that of what it sees."""
    network, seen = build(model, "ln"), []
    for layer in network.modules():
        if isinstance(layer, Norm):
            layer.register_forward_hook(
                lambda layer, args, out: seen.append((layer.shape, tuple(args[0].shape[1:])))
            )
    network(images())
    return seen


def norms_of(model: str) -> list[str]:
    """Those that are defined at all its places."""
    vectors = any(len(features) == 1 for _, features in shapes(model))
    return FOR_VECTORS if vectors else norm_names()


CASES = [(model, norm) for model in FOR_DIGITS for norm in norms_of(model)]
PASSING = [(model, norm) for model, norm in CASES if BLOCKED[norm] != {*TERMS}]


@pytest.mark.parametrize(("model", "norm"), PASSING)
def test_every_parameter_gets_a_gradient_under_every_norm(model: str, norm: str) -> None:
    network = build(model, norm)
    freeze_statistics(network, images())
    logits = network(images())
    assert logits.shape == (6, 10)
    # Curved in every logit, or a norm's own symmetry would give zeros.
    (logits.square() * torch.arange(1.0, 61.0).view(6, 10)).sum().backward()
    dead = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


@pytest.mark.parametrize("model", FOR_DIGITS)
def test_every_norm_sees_once_features_of_the_shape_that_it_was_built_for(model: str) -> None:
    assert all(own == features for own, features in shapes(model))
    layers = [layer for layer in build(model, "ln").modules() if isinstance(layer, Norm)]
    assert len(shapes(model)) == len(layers) > 0


@pytest.mark.parametrize("model", FOR_DIGITS)
def test_hes_initialization_has_its_variance_and_no_biases(model: str) -> None:
    """2 over the inputs of a unit, so that ReLU keeps the features' size; norms stay at 1 and 0."""
    torch.manual_seed(0)
    network = build_model(model, "bn", (1, 8, 8), 10, "he")
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            inputs = layer.weight[0].numel()
            assert layer.bias is None or not layer.bias.any()
            if layer.weight.numel() >= 500:
                found = layer.weight.square().mean().item() * inputs / 2
                assert 0.75 < found < 1.25
        elif isinstance(layer, Norm):
            assert layer.weight.eq(1).all()
    plain, default = (build_in(model, init) for init in ("torch", None))
    assert all(map(torch.equal, plain.parameters(), default.parameters()))


def build_in(model: str, init: str | None) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model(model, "ln", (1, 8, 8), 10, *([init] if init else []))


def test_an_unknown_initialization_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown init 'xavier'; allowed: torch, he"):
        build_model("head", "bn", (1, 8, 8), 10, "xavier")


@pytest.mark.parametrize("model", NORM_SHAPES)
def test_norms_stand_where_the_model_says(model: str) -> None:
    assert sorted(features for _, features in shapes(model)) == sorted(NORM_SHAPES[model])


@pytest.mark.parametrize("model", FOR_DIGITS)
def test_a_seed_gives_the_same_weights_under_every_norm(model: str) -> None:
    """Norms draw nothing, so networks that differ in the norm start alike."""
    plain = [p for layer in build(model, "none").modules() for p in weights_of(layer)]
    for norm in norms_of(model):
        other = [p for layer in build(model, norm).modules() for p in weights_of(layer)]
        assert all(map(torch.equal, plain, other))
        assert len(plain) == len(other)


def weights_of(layer: nn.Module) -> list[torch.Tensor]:
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        return []
    return list(layer.parameters())


@pytest.mark.parametrize(
    ("model", "norm"), [(m, n) for m in FOR_DIGITS for n in POSITIONAL if n not in norms_of(m)]
)
def test_networks_of_vectors_refuse_norms_that_need_positions(model: str, norm: str) -> None:
    with pytest.raises(BadInput, match=f"'{norm}'"):
        build(model, norm)


@pytest.mark.parametrize("model", NORM_SHAPES)
def test_instance_norm_stands_in_networks_with_positions_everywhere(model: str) -> None:
    positions = all(len(shape) > 1 for shape in NORM_SHAPES[model])
    assert ((model, "in") in CASES) == positions


@pytest.mark.parametrize("model", FOR_DIGITS)
def test_no_operation_in_place(model: str) -> None:
    assert not any(getattr(layer, "inplace", False) for layer in build(model, "bn").modules())


@pytest.mark.parametrize("size", [4, 8, 11, 28])
@pytest.mark.parametrize("model", FOR_DIGITS)
def test_other_images(model: str, size: int) -> None:
    network = build_model(model, "bn", (3, size, size), 7)
    assert network(torch.randn(5, 3, size, size)).shape == (5, 7)


def test_the_resnet_adds_its_inputs_to_its_blocks() -> None:
    """With silent branches, what remains is the skip path: the first block is the identity."""
    network = build("resnet", "none")
    block = network[3]
    for parameter in block.branch.parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(2, 8, 8, 8)
    assert torch.equal(block(x), x)
    assert isinstance(network[4].skip, nn.Sequential)


@pytest.mark.parametrize("model", ["head_relu", "mlp", "mini_vgg", "resnet"])
def test_the_split_holds_at_the_last_norm(model: str, digits: Dataset) -> None:
    """BN lets nothing of the first-order term through (T1) where it normalizes vectors."""
    network = build(model, "bn").double().train()
    name = [n for n, layer in network.named_modules() if isinstance(layer, Norm)][-1]
    part = digits.train
    batch = label_batches(part.labels, 64, torch.Generator().manual_seed(0))[0]
    split = split_loss(
        network, name, part.images[batch].double(), part.labels[batch], downstream="frozen"
    )
    terms = split.first + split.diag + split.offdiag + split.remainder
    torch.testing.assert_close(terms, split.total)
    assert split.carry is not None
    ratio = split.carry(split.first).norm() / split.carry(split.total).norm()
    assert (ratio < 1e-9) == (len(NORM_SHAPES[model][-1]) == 1)
