"""The optimizers repeat torch.optim bit for bit."""

import pytest
import torch
from torch import nn

from bnblind.errors import BadInput
from bnblind.experiments.optimizers import SGD, build_optimizer


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_is_torchs(momentum: float, weight_decay: float) -> None:
    settings = {"lr": 0.05, "momentum": momentum, "weight_decay": weight_decay}
    models = []
    for optimizer_class in (SGD, torch.optim.SGD):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
        optimizer = optimizer_class(model.parameters(), **settings)
        for _ in range(10):
            optimizer.zero_grad()
            model(torch.randn(4, 5)).square().sum().backward()
            optimizer.step()
        models.append(model)
    ours, torchs = (model.state_dict() for model in models)
    assert all(torch.equal(ours[name], torchs[name]) for name in ours)


def test_a_parameter_without_a_gradient_stays() -> None:
    used, unused = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = SGD([unused, used], lr=1.0, weight_decay=0.5)
    used.sum().backward()
    optimizer.step()
    assert torch.equal(unused, torch.ones(2))
    assert torch.equal(used, torch.full((2,), -0.5))


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown optimizer 'adm'; allowed: sgd"):
        build_optimizer("adm", [], lr=0.1)
