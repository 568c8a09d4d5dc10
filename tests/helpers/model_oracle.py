"""The dense split of a model in three pieces, put together from torch's functions."""

import torch
from torch import nn
from torch.nn import functional as F

from bnblind.norms import Norm
from tests.helpers.dense import EXACT, PARTS, batch_norm, row_loss, taylor


def standardized(norm, h):
    """The layer's standardization phase by torch's functions; of a norm that is not known here, by
    its own, whose derivatives autograd takes.
    """
    match norm:
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d():
            return batch_norm(h, norm.eps)
        case nn.LayerNorm():
            return F.layer_norm(h, norm.normalized_shape, eps=norm.eps)
        case nn.RMSNorm():
            return F.rms_norm(h, norm.normalized_shape, eps=norm.eps)
        case nn.GroupNorm():
            return F.group_norm(h, norm.num_groups, eps=norm.eps)
        case nn.InstanceNorm2d():
            return F.instance_norm(h, eps=norm.eps)
    axes = (0, *range(2, h.dim()))
    mean, scale = h.mean(axes, keepdim=True), (h.var(axes, False, keepdim=True) + norm.eps).sqrt()
    match type(norm).__name__:
        case "NoNorm" | "AffineOnly":
            return 1 * h
        case "BatchNorm":
            return batch_norm(h, norm.eps)
        case "LayerNorm":
            return F.layer_norm(h, h.shape[1:], eps=norm.eps)
        case "GroupNorm":
            return F.group_norm(h, norm.groups(), eps=norm.eps)
        case "InstanceNorm":
            return F.instance_norm(h, eps=norm.eps)
        case "BatchCentering":
            return h - mean
        case "BatchScaling":
            return h / scale
        case "DetachedBatchNorm":
            return (h - mean.detach()) / scale.detach()
        case "FrozenBatchNorm":
            shape = (-1, *[1] * (h.dim() - 2))
            own = (norm.running_var + norm.eps).sqrt().view(shape)
            return (h - norm.running_mean.view(shape)) / own
    assert isinstance(norm, Norm)
    return norm.standardize(h)


def affine(norm, rows):
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    by_element = isinstance(norm, nn.LayerNorm | nn.RMSNorm) or (
        isinstance(norm, Norm) and norm.affine_by_element
    )
    shape = (-1,) if by_element and rows.dim() == 2 else (-1, *[1] * (rows.dim() - 2))
    for parameter, apply in ((weight, torch.mul), (bias, torch.add)):
        if parameter is not None:
            rows = apply(rows, parameter if by_element else parameter.view(shape))
    return rows


class Oracle:
    """The dense split of a `Model`, whose ``after`` and ``side`` treat rows independently.

    Where they do not (batch statistics), ``side`` (h) -> (n, ...) and ``after`` (m, ...) -> (m, C)
    say what to use in their place.
    """

    def __init__(self, model, x, target, y0=None, loss="cross_entropy", side=None, after=None):
        h = model.before(x).detach()
        self.leaf = h.requires_grad_()
        self.after_standardization = standardized(model.norm, self.leaf)
        self.y = self.after_standardization.detach()
        if y0 is None:
            centred = isinstance(model.norm, nn.BatchNorm1d) or (
                isinstance(model.norm, Norm) and model.norm.centers_batch
            )
            y0 = torch.zeros_like(self.y[0]) if centred and h.dim() == 2 else self.y.mean(0)
        self.y0 = y0
        after, side = after or model.after, side or model.side
        extra = torch.zeros_like(self.y) if side is None else side(h).detach()
        of_outputs = row_loss(loss)

        def of_row(row, own, extra):
            z = affine(model.norm, row[None]) + extra[None]
            return of_outputs(after(z)[0], own)

        self.dense = taylor(of_row, self.y, y0, target, extra)

    def before(self, G):
        return torch.autograd.grad(self.after_standardization, self.leaf, G, retain_graph=True)[0]

    def check(self, found, allowed=EXACT):
        dense, unit = self.dense, self.dense.largest()
        assert (found.y - self.y).abs().max() <= allowed * self.y.abs().max()
        assert (found.y0 - self.y0).abs().max() <= allowed
        for part in PARTS:
            G = getattr(found, part)
            assert (G - getattr(dense, part)).abs().max() <= allowed * unit, part
            expected = self.before(G)
            if found.carry is not None:
                reach = max(expected.abs().max().item(), (G.abs().max() / self.sigma()).item())
                assert (found.carry(G) - expected).abs().max() <= allowed * reach, part
        assert (found.hdiag - dense.hdiag).abs().max() <= allowed * dense.hdiag.abs().max()

    def sigma(self):
        """A bound from below on what the layer divides by, by channel."""
        axes = (0, *range(2, self.leaf.dim()))
        return self.leaf.detach().var(axes, False).min().sqrt()
