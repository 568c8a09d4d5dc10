"""Models before and after an exchange of norms."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGES = torch.randn(6, 3, 40, 40, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 4


def trained(model: nn.Module) -> nn.Module:
    """The model after a few steps, so that no parameter and no statistic is at its start."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(IMAGES), LABELS).backward()
        optimizer.step()
    model.zero_grad()
    return model


def outputs_and_gradients(model: nn.Module) -> list[Tensor]:
    torch.manual_seed(1)  # for dropout
    z = model(IMAGES.double())
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [z, *torch.autograd.grad(z.square().sum(), parameters)]
