"""RealNVP (Dinh et al., arXiv:1605.08803): invertible maps from images to a standard normal."""

from collections.abc import Callable, Sequence
from functools import partial
from math import log, pi, prod

import torch
from torch import Tensor, nn

from bnblind.errors import BadInput, unknown
from bnblind.experiments.flows.coupling_norms import build_coupling_norm
from bnblind.experiments.flows.invertible import (
    AffineCoupling,
    Chain,
    FactorOut,
    Flatten,
    Invertible,
    Logit,
    Squeeze,
    channel_half,
    checkerboard,
)
from bnblind.experiments.flows.networks import ResidualNetwork, mlp
from bnblind.norms import NormFactory, build_norm

Shape = Sequence[int]
Network = Callable[[Tensor], nn.Module]
"""Mask of a coupling -> its network."""


def _couplings(mask: Tensor, count: int, network: Network, coupling_norm: str) -> list[Invertible]:
    """``count`` couplings, by turns with ``mask`` and its complement, each with its norm."""
    steps: list[Invertible] = []
    for number in range(count):
        kept = mask if number % 2 == 0 else ~mask
        steps.append(AffineCoupling(kept, network(kept)))
        steps.append(build_coupling_norm(coupling_norm, mask.shape))
    return steps


def mlp_couplings(
    shape: Shape, couplings: int, width: int, depth: int, norm: NormFactory, coupling_norm: str
) -> Invertible:
    """``mlp``: flattened images, checkerboard masks, fully connected networks."""
    mask = checkerboard(shape).flatten()

    def network(mask: Tensor) -> nn.Module:
        return mlp(len(mask), width, depth, norm)

    return Chain([Flatten(shape), *_couplings(mask, couplings, network, coupling_norm)])


def conv_couplings(
    shape: Shape, couplings: int, width: int, depth: int, norm: NormFactory, coupling_norm: str
) -> Invertible:
    """``conv``: two scales, with residual convolutional networks, as the authors have it.

    ``couplings`` of checkerboard masks, a squeeze, as many of channel masks, half of the channels
    done; then ``couplings + 1`` of checkerboard masks. Raises BadInput if a side is odd.
    """
    channels, height, breadth = shape
    if height % 2 or breadth % 2:
        raise BadInput(
            f"convolutional couplings need images of even sides; found {height} x {breadth}"
        )

    def network(mask: Tensor) -> nn.Module:
        return ResidualNetwork(mask, width, depth, norm)

    def several(mask: Tensor, count: int) -> list[Invertible]:
        return _couplings(mask, count, network, coupling_norm)

    squeezed = (4 * channels, height // 2, breadth // 2)
    half = (2 * channels, *squeezed[1:])
    first = several(checkerboard(shape), couplings)
    then = several(channel_half(squeezed), couplings)
    rest = Chain([*several(checkerboard(half), couplings + 1), Flatten(half)])
    return Chain([*first, Squeeze(), *then, FactorOut(squeezed, rest)])


COUPLINGS: dict[str, Callable[..., Invertible]] = {"mlp": mlp_couplings, "conv": conv_couplings}
"""Name -> function of shape, couplings, width, depth, norm factory and coupling norm."""


class RealNVP(nn.Module):
    """A density on images (n, *shape) in [0, 1]: standard normal after ``transform``."""

    def __init__(self, transform: Invertible, shape: Shape) -> None:
        super().__init__()
        self.transform, self.shape = transform, tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Log-density at each image of ``x`` in nats, (n,)."""
        z, log_det = self.transform(x)
        return log_det - 0.5 * (z.square() + log(2 * pi)).sum(1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Images drawn from the density, (count, *shape); in evaluation mode."""
        z = torch.randn(count, prod(self.shape), generator=generator)
        return self.transform.inverse(z)

    def scale_penalty(self) -> Tensor:
        """Sum of the squared gains: of the couplings' scales and of weight normalization."""
        gains = [p for name, p in self.named_parameters() if name.endswith("gain")]
        return torch.stack([gain.square().sum() for gain in gains]).sum()


def build_flow(
    coupling: str,
    shape: Shape,
    *,
    couplings: int,
    width: int,
    depth: int,
    norm: str,
    coupling_norm: str,
    constraint: float,
) -> RealNVP:
    """A flow on images of ``shape`` (C, H, W) in [0, 1].

    Args:
        coupling: kind of couplings, ``mlp`` or ``conv``.
        couplings: how many; for ``conv``, how many of each kind at each scale.
        width, depth: of each coupling's network: hidden units and layers, or channels and blocks.
        norm: variant inside these networks.
        coupling_norm: the couplings' own.
        constraint: of the logit, in (0, 1).

    Raises:
        BadInput: an unknown name, a norm that is not defined for the networks' features, or
            a constraint outside (0, 1).
    """
    if coupling not in COUPLINGS:
        raise unknown("coupling", coupling, COUPLINGS)
    if not 0 < constraint < 1:
        raise BadInput(f"the logit's constraint must lie between 0 and 1; found {constraint}")
    after_logit = COUPLINGS[coupling](
        shape, couplings, width, depth, partial(build_norm, norm), coupling_norm
    )
    return RealNVP(Chain([Logit(constraint), after_logit]), shape)
