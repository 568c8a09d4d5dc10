"""The standardization phase of batch normalization, and its exact backward pass."""

import torch
from torch import Tensor

from bnblind.errors import BadInput


def pooled_axes(x: Tensor) -> tuple[int, ...]:
    """The axes over which batch statistics pool: all but axis 1, the channels."""
    return (0, *range(2, x.dim()))


def per_channel(v: Tensor, x: Tensor) -> Tensor:
    """View ``v`` of shape (C,) so that it broadcasts against ``x`` of shape (n, C, *spatial)."""
    return v.view(1, -1, *[1] * (x.dim() - 2))


def square_root(v: Tensor) -> Tensor:
    """Square root of ``v`` >= 0, the same bits on every x86-64 processor.

    torch.sqrt, like asin, acos and atan, gave other last bits on another processor; it is Intel
    MKL's, which presumably starts from the processor's own estimate of 1 / sqrt(v).
    """
    return v.rsqrt().reciprocal()


def standardize(x: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Standardize each channel with the batch's own mean and biased variance.

    Args:
        x: features, floating point, (n, D) or (n, C, *spatial); statistics pool over all axes
            but axis 1.
        eps: added to the variance, >= 0.

    Returns:
        ``y`` of the shape and dtype of ``x``, and ``sigma = sqrt(var + eps)`` of shape (C,).

    Raises:
        BadInput: ``x`` has fewer than two axes or values per channel or is not floating point,
            ``eps`` is negative, or ``eps`` is 0 and a channel is constant (y would be 0/0).

    Source: arXiv:2205.15146, the standardization phase; one batch is one expansion point.

    >>> y, sigma = standardize(torch.tensor([[1.0], [5.0]]), eps=0)
    >>> y.tolist(), sigma.tolist()
    ([[-1.0], [1.0]], [2.0])
    """
    if x.dim() < 2 or not x.is_floating_point():
        raise BadInput(
            f"features must be floating point of shape (n, C, *spatial); "
            f"found {x.dtype} of shape {tuple(x.shape)}"
        )
    if x.numel() < 2 * x.shape[1]:
        raise BadInput(
            "at least 2 values per channel are needed to take statistics of; found features of "
            f"shape {tuple(x.shape)}"
        )
    if eps < 0:
        raise BadInput(f"eps must be >= 0; found {eps}")
    var, mean = torch.var_mean(x, dim=pooled_axes(x), correction=0)
    if eps == 0 and bool((var == 0).any()):
        constant = (var == 0).nonzero().flatten().tolist()
        raise BadInput(f"eps is 0 and these channels are constant: {constant}; use eps > 0")
    sigma = square_root(var + eps)
    return (x - per_channel(mean, x)) / per_channel(sigma, x), sigma


def bn_backward(G: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
    """Gradient before the standardization phase, in closed form.

    ``dX = (G - mean(G) - y * mean(y * G)) / sigma``, means over the pooled axes. Exact for
    every loss, every ``G`` and every ``eps >= 0`` (T4 in docs/theory.md).

    Args:
        G: gradient of the loss with respect to ``y``, (n, C, *spatial).
        y: standardized features, same shape.
        sigma: (C,), as returned by :func:`standardize`.

    Returns:
        Gradient with respect to the features before standardization, shape of ``G``.

    Raises:
        BadInput: the shapes do not fit.

    >>> y, sigma = standardize(torch.tensor([[1.0], [5.0]]), eps=0)
    >>> bn_backward(torch.ones(2, 1), y, sigma).tolist()  # shared by the batch
    [[0.0], [0.0]]
    """
    if G.shape != y.shape or y.dim() < 2 or sigma.shape != y.shape[1:2]:
        raise BadInput(
            "G and y must have one shape (n, C, *spatial), sigma (C,); found "
            f"{tuple(G.shape)}, {tuple(y.shape)} and {tuple(sigma.shape)}"
        )
    axes = pooled_axes(y)
    along_constant = per_channel(G.mean(axes), y)
    along_y = y * per_channel((y * G).mean(axes), y)
    return (G - along_constant - along_y) / per_channel(sigma, y)
