"""Normalization between the couplings, a part of the bijection itself.

``y = (x - mean) / sigma`` with the batch's statistics while training and their running averages
in evaluation mode, where it is a fixed, invertible map. In training mode the log-determinant is
that of the map with the batch's statistics held fixed, as in Dinh et al., arXiv:1605.08803.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bnblind.errors import BadInput, unknown
from bnblind.experiments.flows.invertible import Chain, Invertible
from bnblind.standardization import pooled_axes, square_root


def no_coupling_norm(shape: Sequence[int]) -> Invertible:
    """``none``: the identity."""
    return Chain([])


class BatchCouplingNorm(Invertible):
    """``bn``: one mean and variance per channel, without an affine phase."""

    eps = 1e-5
    momentum = 0.1
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        statistics = self.statistics_shape(shape)
        self.register_buffer("running_mean", torch.zeros(statistics))
        self.register_buffer("running_var", torch.ones(statistics))

    def statistics_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0], *[1] * (len(shape) - 1))

    def axes(self, x: Tensor) -> tuple[int, ...]:
        """The axes that a statistic pools."""
        return pooled_axes(x)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance to use, of ``statistics_shape``; updates the running averages."""
        if not self.training:
            return self.running_mean, self.running_var
        count = x.numel() // self.running_mean.numel()
        if count < 2:
            raise BadInput(
                f"{type(self).__name__} needs at least 2 values to take statistics of; found "
                f"features of shape {tuple(x.shape)}"
            )
        var, mean = torch.var_mean(x, dim=self.axes(x), correction=0, keepdim=True)
        mean, var = mean.view_as(self.running_mean), var.view_as(self.running_var)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        return mean, var

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = self.moments(x)
        var = var + self.eps
        log_sigma = 0.5 * var.log().expand(x.shape[1:]).sum()
        return (x - mean) / square_root(var), -log_sigma.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """In evaluation mode; raises BadInput in training mode, where ``x`` sets the map."""
        if self.training:
            raise BadInput("a flow with batch statistics is inverted in evaluation mode only")
        mean, var = self.moments(y)
        return y * square_root(var + self.eps) + mean


class ScalarCouplingNorm(BatchCouplingNorm):
    """``scalar``: one mean and variance over the whole batch, samples and features alike."""

    def statistics_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (1,) * len(shape)

    def axes(self, x: Tensor) -> tuple[int, ...]:
        return tuple(range(x.dim()))


COUPLING_NORMS: dict[str, Callable[[Sequence[int]], Invertible]] = {
    "none": no_coupling_norm,
    "bn": BatchCouplingNorm,
    "scalar": ScalarCouplingNorm,
}


def build_coupling_norm(name: str, shape: Sequence[int]) -> Invertible:
    """The variant ``name`` for features of shape (n, *shape); raises BadInput if unknown."""
    if name not in COUPLING_NORMS:
        raise unknown("coupling norm", name, COUPLING_NORMS)
    return COUPLING_NORMS[name](shape)
