"""The optimizers repeat torch.optim, but for the rounding of the last bit."""

from typing import Any

import pytest
import torch
from torch import nn

from bnblind.errors import BadInput
from bnblind.experiments.optimizers import OPTIMIZERS, SGD, Adam, Adamax, build_optimizer


def trained(optimizer_class, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    optimizer = optimizer_class(model.parameters(), **settings)
    for _ in range(10):
        optimizer.zero_grad()
        model(torch.randn(4, 5)).square().sum().backward()
        optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_is_torchs(momentum: float, weight_decay: float) -> None:
    settings = {"lr": 0.05, "momentum": momentum, "weight_decay": weight_decay}
    ours, torchs = (trained(kind, **settings) for kind in (SGD, torch.optim.SGD))
    for name in ours:
        torch.testing.assert_close(ours[name], torchs[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.7)])
@pytest.mark.parametrize("eps", [1e-8, 1e-2])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamax_is_torchs(betas: tuple[float, float], eps: float, weight_decay: float) -> None:
    settings = {"lr": 0.02, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    ours, torchs = (trained(kind, **settings) for kind in (Adamax, torch.optim.Adamax))
    for name in ours:
        torch.testing.assert_close(ours[name], torchs[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.7)])
@pytest.mark.parametrize("eps", [1e-8, 1e-2])
def test_adam_is_torchs_but_for_the_rounding_of_the_root(
    betas: tuple[float, float], eps: float
) -> None:
    settings = {"lr": 0.02, "betas": betas, "eps": eps}
    ours, torchs = (trained(kind, **settings) for kind in (Adam, torch.optim.Adam))
    for name in ours:
        torch.testing.assert_close(ours[name], torchs[name], rtol=1e-5, atol=1e-6)


def test_adam_leaves_what_has_no_gradient() -> None:
    """A weight whose gradient is always 0, whose root goes over the reciprocal of infinity."""
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = Adam([weight], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        weight[0].square().backward()
        optimizer.step()
    assert weight[1].item() == 2.0
    assert weight[0].item() == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_anothers_state(name: str) -> None:
    """After steps that only one of two parameters took part in."""
    targets = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))

    def step(parameters: list[nn.Parameter], optimizer: Any, number: int) -> None:
        optimizer.zero_grad()
        for parameter, target in zip(parameters[: 1 + number // 3], targets, strict=False):
            (parameter - target).square().sum().backward()
        optimizer.step()

    settings = {"momentum": 0.9} if name == "sgd" else {}
    straight = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = build_optimizer(name, straight, lr=0.1, **settings)
    for number in range(6):
        if number == 4:
            resumed = [nn.Parameter(p.detach().clone()) for p in straight]
            second = build_optimizer(name, resumed, lr=0.1, **settings)
            second.load({key: tensor.clone() for key, tensor in optimizer.state().items()})
        step(straight, optimizer, number)
    for number in (4, 5):
        step(resumed, second, number)
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))


def test_a_parameter_that_the_loss_does_not_reach_decays() -> None:
    used, unused = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = SGD([unused, used], lr=1.0, weight_decay=0.5)
    used.sum().backward()
    optimizer.step()
    assert torch.equal(unused, torch.full((2,), 0.5))
    assert torch.equal(used, torch.full((2,), -0.5))


def test_a_gradient_that_the_optimizer_would_not_see_is_an_error() -> None:
    model = nn.Linear(2, 2)
    optimizer = SGD(model.parameters(), lr=1.0)
    model.zero_grad()
    model(torch.ones(1, 2)).sum().backward()
    with pytest.raises(RuntimeError, match="grad was replaced; use the optimizer's zero_grad"):
        optimizer.step()


def test_weights_are_trained_in_any_order_of_memory() -> None:
    """A convolution's, channels last, to the same values as in the usual order."""
    images = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    found = []
    for order in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3).double().to(memory_format=order)
        optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            model(images).square().sum().backward()
            optimizer.step()
        assert model.weight.is_contiguous(memory_format=order)
        found.append(model.weight.detach())
    torch.testing.assert_close(*found)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown optimizer 'adm'; allowed: sgd"):
        build_optimizer("adm", [], lr=0.1)
