"""The library on networks of torchvision and timm: every batch norm of each."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnblind import BadInput, BlindnessProbe, split_loss, swap_norm
from tests.helpers.dense import cross_entropy
from tests.networks.models import CHOSEN, CURVED, N, Tried, built, logits, without_chance

batch_norm = F.batch_norm
"""torch's own, also while a test watches its calls."""


@dataclass
class Call:
    """A batch norm's call: its layer, and input and output as autograd's own variables."""

    layer: str
    x: Tensor
    z: Tensor


def watched(tried: Tried, patch: pytest.MonkeyPatch) -> list[Call]:
    """The calls of torch's batch norm from now on, each cut from what writes into its output."""
    owners = {id(layer.running_mean): name for name, layer in tried.norms.items()}
    calls: list[Call] = []

    def call(x: Tensor, mean: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        x = x.clone()
        z = batch_norm(x, mean, *args, **kwargs)
        x.retain_grad()
        z.retain_grad()
        calls.append(Call(owners[id(mean)], x, z))
        return z.clone()

    patch.setattr(F, "batch_norm", call)
    return calls


def shares(layer: nn.Module, calls: list[Call]) -> dict[str, float]:
    """What the layer blocks of its calls' gradients, in float64, by autograd through (x - mean) /
    sqrt(var + eps) written out.
    """
    total = passing = mean = 0.0
    for call in calls:
        x = call.x.detach().double().transpose(0, 1).flatten(1).requires_grad_()
        z = call.z.grad.double().transpose(0, 1).flatten(1)
        G = z if layer.weight is None else layer.weight.detach().double()[:, None] * z
        sigma = (x.var(1, correction=0, keepdim=True) + layer.eps).sqrt()
        y = (x - x.mean(1, keepdim=True)) / sigma
        (dx,) = torch.autograd.grad(y, x, G)
        total += G.square().sum().item()
        mean += (x.shape[1] * G.mean(1).square()).sum().item()
        passing += (sigma * dx).square().sum().item()
    return {
        "mean_share": mean / total,
        "scale_share": 1 - (mean + passing) / total,
        "passing": passing / total,
    }


@pytest.mark.parametrize("name", CHOSEN)
def test_the_probe_measures_what_float64_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = built(name, torch.float32)
    calls = watched(tried, monkeypatch)
    loss = F.cross_entropy(logits(tried.model(tried.x)), tried.labels)
    with BlindnessProbe(tried.model) as probe:
        loss.backward()
    table = probe.table().set_index("layer")
    assert [*table.index] == [*tried.norms]
    for layer, row in table.iterrows():
        own = [call for call in calls if call.layer == layer and call.z.grad is not None]
        assert row["found"] == ("measured" if own else "not reached")
        expected = shares(tried.norms[layer], own) if own else {}
        for share, value in expected.items():
            assert row[share] == pytest.approx(value, abs=2e-5), (layer, share)
        if own:
            norms = {"in": [call.x.grad for call in own], "out": [call.z.grad for call in own]}
            for side, gradients in norms.items():
                length = torch.cat([g.flatten() for g in gradients]).double().norm().item()
                assert row[f"grad_norm_{side}"] == pytest.approx(length, rel=1e-4), layer


@pytest.mark.parametrize("name", CHOSEN)
def test_swapping_bn_for_bn_is_the_identity(name: str) -> None:
    """Outputs and gradients, with the same dropout, then the outputs in evaluation mode."""
    tried = built(name)
    swapped = swap_norm(tried.model, "bn", example_input=tried.x)
    assert swapped is not tried.model

    def found(model: nn.Module) -> list[Tensor]:
        torch.manual_seed(1)
        output = logits(model(tried.x))
        F.cross_entropy(output, tried.labels).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return [output.detach(), *gradients, logits(model.eval()(tried.x)).detach()]

    for a, b in zip(found(tried.model), found(swapped), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9 * float(a.abs().max()))


class Opened:
    """The network as a function of one layer's normalized features, made without the library.

    The calls of F.batch_norm that do not depend on these features take the statistics of the
    batch, the others their running ones, as split_loss says of ``downstream="frozen"``.
    """

    def __init__(self, tried: Tried, layer: str, patch: pytest.MonkeyPatch) -> None:
        self.tried, self.patch = tried, patch
        self.model = copy.deepcopy(tried.model).requires_grad_(False)
        self.analysed = self.model.get_submodule(layer)
        self.features = torch.empty(0)
        self.does_more = False
        handle = self.analysed.register_forward_hook(self.compare)
        with torch.no_grad():
            self.outputs(None)
        handle.remove()

    def compare(self, layer: nn.Module, _: Any, output: Tensor) -> None:
        """Whether the layer's output is more than that of its batch norm."""
        self.does_more = not torch.allclose(output, self.affine(self.features), rtol=1e-9)

    def is_of_tokens(self) -> bool:
        """Whether the layer is called with other rows than one for each sample."""
        return len(self.features) not in (0, N)

    def affine(self, y: Tensor) -> Tensor:
        shape = (-1, *[1] * (y.dim() - 2))
        return y * self.analysed.weight.view(shape) + self.analysed.bias.view(shape)

    def outputs(self, y: Tensor | None) -> Tensor:
        def call(
            x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, *options: Any
        ) -> Tensor:
            eps = options[-1]
            if mean is self.analysed.running_mean:
                own = batch_norm(x, None, None, None, None, True, 0.0, eps) if y is None else y
                self.features = own.detach()
                return self.affine(own.clone())
            constant = x.requires_grad
            statistics = (mean, var) if constant else (None, None)
            return batch_norm(x, *statistics, weight, bias, not constant, 0.0, eps)

        with self.patch.context() as patch:
            patch.setattr(F, "batch_norm", call)
            # torch has no second derivative of its own.
            patch.setattr(F, "hardsigmoid", lambda x, inplace=False: F.relu6(x + 3) / 6)
            return logits(self.model(self.tried.x))

    def gradient(self, y: Tensor, **how: bool) -> Tensor:
        """Of each sample's loss, (n, *S)."""
        losses = map(cross_entropy, self.outputs(y), self.tried.labels)
        return torch.autograd.grad(sum(losses), y, **how)[0]

    def products(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        """Each sample's Hessian times a direction, by backward twice."""
        gradient = self.gradient(y, create_graph=True)
        return lambda direction: torch.autograd.grad(
            gradient, y, direction, retain_graph=True, materialize_grads=True
        )[0]


def close(found: Tensor, expected: Tensor, unit: float, what: str) -> None:
    """Up to 1e-7: deep networks enlarge rounding, and torch's own float64 derivative of hardsigmoid
    holds 1/6 in single precision.
    """
    assert found.shape == expected.shape
    assert (found - expected).abs().max().item() <= 1e-7 * unit, what


FEW = 1500
"""Features of a batch for which a curved head's diagonal is computed exactly."""


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("name", CHOSEN)
def test_the_split_is_right_or_refused_for_a_true_reason(
    name: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = built(name)
    without_chance(tried.model)
    names = [*tried.norms]
    layer = names[{"first": 0, "middle": len(names) // 2, "last": -1}[place]]
    opened = Opened(tried, layer, monkeypatch)
    estimated = name.partition(":")[2] in CURVED and opened.features.numel() > FEW
    splitting = partial(split_loss, tried.model, layer, tried.x, tried.labels, downstream="frozen")
    more = rf"layer '{layer}' \(BatchNormAct2d\) does more than a normalization's two phases"
    reasons = {
        more: opened.does_more,
        f"layer '{layer}' is given .* rows of features for {N} samples": opened.is_of_tokens(),
        f"forward pass does not call layer '{layer}'": not opened.features.numel(),
    }
    for reason, is_true in reasons.items():
        if is_true:
            with pytest.raises(BadInput, match=reason):
                splitting()
            return
    split = splitting(hdiag=2 if estimated else "auto")
    y, point = split.y, split.y0.expand_as(split.y).clone().requires_grad_()
    close(y, opened.features, 1, "y")
    total = opened.gradient(y.clone().requires_grad_())
    first, product = opened.gradient(point), opened.products(point)
    second = product(y - split.y0)
    unit = max(v.abs().max().item() for v in (total, first, second))
    close(split.total, total, unit, "total")
    close(split.first, first, unit, "first")
    close(split.diag + split.offdiag, second, unit, "second")
    close(split.first + split.diag + split.offdiag + split.remainder, total, unit, "sum")
    if not estimated:
        hdiag = split.hdiag.expand_as(y).flatten(1)
        close(split.diag, hdiag.view_as(y) * (y - split.y0), unit, "diag")
        for entry in (0, hdiag.shape[1] // 2, hdiag.shape[1] - 1):
            one = torch.zeros_like(y)
            one.flatten(1)[:, entry] = 1
            column = product(one).flatten(1)
            close(hdiag[:, entry], column[:, entry], column.abs().max().item(), "hdiag")
