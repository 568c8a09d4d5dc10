"""Wrong arguments of the engine: one error each, which names what was found and what to do."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from bnblind import (
    BadInput,
    BlindnessProbe,
    bn_backward,
    split_head,
    split_loss,
    standardize,
    swap_norm,
)
from tests.helpers.snapshot import snapshot

N, D, C = 6, 5, 3
TARGET = torch.arange(N) % C


def features() -> torch.Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, C)).double()


class Residual(nn.Module):
    """A branch that a random number switches off."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.branch = nn.BatchNorm1d(D), nn.Linear(D, D)
        self.drop = StochasticDepth(0.5, "row")
        self.classifier = nn.Linear(D, C)

    def forward(self, x):
        y = self.norm(x)
        return self.classifier(y + self.drop(self.branch(y)))


class Named(nn.Module):
    """Gives a tuple, as models with auxiliary outputs do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x):
        return self.inner(x), x


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"y": [[1.0]]}, r"y must be a torch.Tensor; found list"),
        ({"target": None}, r"target must be a torch.Tensor; found NoneType"),
        ({"target": 3}, r"target must be a torch.Tensor; found int"),
        ({"y0": 0.0}, r"y0 must be a torch.Tensor; found float"),
        ({"sigma": 1.0}, r"sigma must be a torch.Tensor; found float"),
        ({"target": TARGET[:, None]}, r"one class per sample; found torch.int64 of shape \(n, 1\)"),
        ({"loss": nn.CrossEntropyLoss()}, r"one number per sample, .* reduction='none'"),
        ({"loss": lambda z, t: 0.0}, r"one number per sample, .* found float"),
        ({"head": lambda v: (v, v)}, r"found tuple; wrap the model"),
    ],
)
def test_split_head_names_the_wrong_argument(change, found):
    given = {"head": nn.Linear(D, C).double(), "y": features(), "target": TARGET, "y0": None}
    given |= change
    with pytest.raises(BadInput, match=found):
        split_head(**given)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"x": features().numpy()}, r"x must be a torch.Tensor; found ndarray"),
        ({"target": [0] * N}, r"target must be a torch.Tensor; found list"),
        ({"y0": 0.0}, r"y0 must be a torch.Tensor; found float"),
        ({"loss": nn.MSELoss(), "target": torch.zeros(N, C)}, r"reduction='none'"),
        ({"model": Named(), "layer": "inner.1"}, r"found tuple; wrap the model"),
        ({"model": torch.compile(network())}, r"the model is compiled"),
    ],
)
def test_split_loss_names_the_wrong_argument(change, found):
    given = {"model": network(), "layer": "1", "x": features(), "target": TARGET} | change
    with pytest.raises(BadInput, match=found):
        split_loss(**given)


@pytest.mark.parametrize(
    "shapes", [((4, 3), (4, 2), (3,)), ((4, 3), (4, 3), (4,)), ((4,), (4,), (4,))]
)
def test_bn_backward_refuses_shapes_that_do_not_fit(shapes):
    with pytest.raises(BadInput, match=r"one shape \(n, C, \*spatial\), sigma \(C,\); found"):
        bn_backward(*map(torch.ones, shapes))


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (1, 3, 1, 1)])
def test_a_single_value_a_channel_is_refused(shape):
    with pytest.raises(BadInput, match="at least 2 values per channel"):
        standardize(torch.ones(shape))


def test_one_image_has_values_enough():
    assert standardize(torch.randn(1, 3, 2, 2))[0].mean().abs() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_layer_that_draws_random_numbers_is_named(dtype):
    torch.manual_seed(3)
    model = Residual().to(dtype)
    before, state = snapshot(model), torch.get_rng_state()
    with pytest.raises(BadInput, match=r"layer 'drop' \(StochasticDepth\) draws random numbers"):
        split_loss(model, "norm", features().to(dtype), TARGET)
    head = nn.Sequential(model.branch, model.drop, model.classifier)
    with pytest.raises(BadInput, match=r"layer '1' \(StochasticDepth\) draws random numbers"):
        split_head(head, features(), TARGET)
    assert snapshot(model) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_function_that_draws_random_numbers_is_refused():
    with pytest.raises(BadInput, match="the head draws random numbers"):
        split_head(lambda v: F.dropout(v[:, :C], 0.5), features(), TARGET)


@pytest.mark.parametrize("row", [0, 4])
@pytest.mark.parametrize("hdiag", ["auto", "exact"])
def test_outputs_that_are_not_finite_are_refused(row, hdiag):
    y = features()
    y[:, 0] = 0.0
    y[row, 0] = 1.0
    linear = nn.Linear(D, C).double()
    with pytest.raises(BadInput, match=r"must be finite|NaN or infinity"):
        split_head(lambda v: linear(v) + 0 / (v[:, :1] - 1), y, TARGET, hdiag=hdiag)


def test_the_expansion_point_is_a_copy():
    y0 = torch.full((8,), 0.5, dtype=torch.float64)
    split = split_loss(network(), "1", features(), TARGET, y0=y0)
    y0 += 1
    assert (split.y0 == 0.5).all()


WRITTEN = {
    "relu": (lambda v: F.relu(v), lambda v: F.relu(input=v)),
    "elu": (lambda v: F.elu(v, 0.5), lambda v: F.elu(input=v, alpha=0.5)),
    "maximum": (
        lambda v: torch.maximum(v, torch.zeros_like(v)),
        lambda v: torch.maximum(v, other=torch.zeros_like(v)),
    ),
    "where": (
        lambda v: torch.where(v > 1, v, v.abs()),
        lambda v: torch.where(condition=v > 1, input=v, other=torch.abs(input=v)),
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_kinks_count_however_a_call_is_written(name):
    """At y0 = 0 every unit is on the kink."""
    by_position, by_name = (
        split_head(lambda v, f=f: f(v)[:, :C], features(), TARGET) for f in WRITTEN[name]
    )
    assert by_name.kinks == by_position.kinks == D
    assert torch.equal(by_name.hdiag, by_position.hdiag)


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ),
    ],
)
def test_the_split_stays_on_its_device(device):
    model, x, target = network().to(device), features().to(device), TARGET.to(device)
    split = split_loss(model, "1", x, target, y0=None)
    expected = split_loss(network(), "1", features(), TARGET, y0=None)
    for name in ("y", "first", "diag", "offdiag", "remainder", "total", "hdiag"):
        found = getattr(split, name)
        assert found.device.type == device
        torch.testing.assert_close(found.cpu(), getattr(expected, name), rtol=0, atol=1e-12)
    with pytest.raises(BadInput, match="draws random numbers"):
        split_head(lambda v: F.dropout(v[:, :C], 0.5), split.y, target)


@pytest.mark.parametrize("found", ["resnet18", None, torch.zeros(2)])
def test_what_is_no_model_is_refused(found):
    x, kind = torch.zeros(4, 3), type(found).__name__
    for call in (
        lambda: BlindnessProbe(found),
        lambda: split_loss(found, "0", x, torch.zeros(4, dtype=torch.long)),
        lambda: swap_norm(found, "ln", example_input=x),
    ):
        with pytest.raises(BadInput, match=f"model must be a torch.nn.Module; found {kind}"):
            call()
