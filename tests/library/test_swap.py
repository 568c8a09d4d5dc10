"""Exchanging batch norm: the same network with ``bn``, a trainable one with every other variant."""

import copy
import pickle

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from bnblind import BadInput, swap_norm
from bnblind.norms import BatchStatistics, Norm, norm_class, norm_names
from bnblind.norms.bn import BatchNorm
from tests.helpers.norms import FOR_VECTORS, POSITIONAL
from tests.helpers.swapping import IMAGES, LABELS, outputs_and_gradients, trained


class Net(nn.Module):
    """Convolutional layers with a shortcut, dropout, and a batch norm of each kind of input."""

    def __init__(self, **options):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, 1e-3, **options))
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8, **options))
        self.sequence = nn.BatchNorm1d(8, **options)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Sequential(nn.Linear(8 * 4, 8), nn.SyncBatchNorm(8), nn.Linear(8, 4))

    def forward(self, x):
        x = self.first(x).relu_()
        x = (x + self.second(x)).relu()
        x = self.sequence(F.adaptive_avg_pool2d(x, 2).flatten(2))
        return self.head(self.drop(x.flatten(1)))


def trained_net():
    torch.manual_seed(0)
    return trained(Net())


@pytest.mark.parametrize("training", [True, False])
def test_swapping_to_bn_changes_nothing(training):
    """Also over several batches: the momentum moves the averages in the same way."""
    model = trained_net().double()
    model.first[1].momentum = 0.7
    model.second[1].weight.requires_grad_(False)
    model.train(training)
    swapped = swap_norm(model, "bn", example_input=IMAGES.double())
    for _ in range(3):
        for a, b in zip(outputs_and_gradients(model), outputs_and_gradients(swapped), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    for name, buffer in swapped.named_buffers():
        torch.testing.assert_close(buffer, model.get_buffer(name), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", norm_names())
def test_every_variant_trains_a_step(norm):
    model = trained_net()
    if norm in POSITIONAL:  # not defined for the features of the last layer
        model.head[1] = nn.Identity()
    swapped = swap_norm(model, norm, example_input=IMAGES)
    kinds = {type(m) for m in swapped.modules() if isinstance(m, Norm)}
    assert kinds == {norm_class(norm)}
    weights = [p for name, p in swapped.named_parameters() if name.endswith("weight")]
    before = [p.clone() for p in weights]
    optimizer = torch.optim.SGD(swapped.parameters(), lr=0.1)
    F.cross_entropy(swapped(IMAGES), LABELS).backward()
    optimizer.step()
    at_rest = [*map(torch.equal, before, weights)]
    if norm in ("bn_zeroed", "identity_zeroed"):  # only what follows the last norm moves
        assert at_rest[0]
        assert not at_rest[-1]
    else:
        assert not any(at_rest)


@pytest.mark.parametrize("norm", ["ln", "gn", "in", "none"])
def test_torchvisions_resnet_trains_a_step(norm):
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=4)
    swapped = swap_norm(model, norm, example_input=IMAGES)
    loss = F.cross_entropy(swapped(IMAGES), LABELS)
    loss.backward()
    assert loss.isfinite()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in swapped.modules())


def state(model):
    tensors = {
        name: (v.clone(), v._version) for name, v in model.state_dict(keep_vars=True).items()
    }
    hooks = [[len(v) for k, v in vars(m).items() if k.endswith("_hooks")] for m in model.modules()]
    return tensors, hooks, [m.training for m in model.modules()], torch.get_rng_state()


@pytest.mark.parametrize("norm", ["bn", "ln", "bn_frozen"])
def test_the_original_the_input_and_the_random_state_are_untouched(norm):
    model, x = nn.Sequential(nn.ReLU(inplace=True), trained_net()), IMAGES.clone()
    model[1].second.eval()
    (tensors, *rest, rng) = state(model)
    swapped = swap_norm(model, norm, example_input=x)
    (tensors_after, *rest_after, rng_after) = state(model)
    assert rest == rest_after
    assert torch.equal(rng, rng_after)
    assert torch.equal(x, IMAGES)
    for name, (value, version) in tensors.items():
        assert torch.equal(value, tensors_after[name][0])
        assert version == tensors_after[name][1]
    assert all(p.grad is None for p in swapped.parameters())
    own = {v.data_ptr() for v in model.state_dict().values()}
    assert not own & {v.data_ptr() for v in swapped.state_dict().values()}


def test_the_copy_is_not_moved_by_the_trial_run():
    """Its running statistics are the original's; dropout keeps its mode; no hook stays."""
    model = trained_net()
    model.drop.eval()
    swapped = swap_norm(model, "bn_center", example_input=IMAGES)
    for name, buffer in swapped.named_buffers():
        assert torch.equal(buffer, model.get_buffer(name))
    assert [m.training for m in swapped.modules()] == [m.training for m in model.modules()]
    assert not any(m._forward_pre_hooks for m in swapped.modules())


def test_the_affine_phase_is_carried_over_by_element_for_ln():
    model = trained_net()
    model.first[1].bias.requires_grad_(False)
    layer = swap_norm(model, "ln", example_input=IMAGES).first[1]
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad
    assert layer.weight.shape == layer.bias.shape == (8, 38, 38)
    for name in ("weight", "bias"):
        expected = getattr(model.first[1], name).view(8, 1, 1).expand(8, 38, 38)
        assert torch.equal(getattr(layer, name), expected)
    assert layer.eps == 1e-3


@pytest.mark.parametrize("norm", ["bn", "ln", "bn_affine"])
def test_a_layer_without_affine_phase_gets_one_that_stays_the_identity(norm):
    model = nn.BatchNorm2d(3, affine=False).double().eval()
    swapped = swap_norm(model, norm, example_input=IMAGES.double())
    assert isinstance(swapped, norm_class(norm))
    assert not swapped.training
    assert swapped.weight.dtype == torch.float64
    assert (swapped.weight == 1).all()
    assert (swapped.bias == 0).all()
    assert not any(p.requires_grad for p in swapped.parameters())


@pytest.mark.parametrize("norm", norm_names())
def test_a_layer_without_bias_gets_one_that_stays_zero(norm):
    model = nn.BatchNorm2d(3).double().eval()
    model.register_parameter("bias", None)  # as bias=False, which older versions of torch lack
    with torch.no_grad():
        model.weight.fill_(2.0)
    swapped = swap_norm(model, norm, example_input=torch.randn(4, 3, 2, 2).double())
    weights = dict(swapped.named_parameters())
    assert all(w.requires_grad == (name != "bias") for name, w in weights.items())
    if weights:
        assert bool((weights["weight"] == 2).all())
        assert not bool(weights["bias"].any())


def test_without_parameters_and_statistics_the_dtype_is_the_features():
    model = nn.BatchNorm2d(3, affine=False, track_running_stats=False)
    swapped = swap_norm(model, "gn", example_input=IMAGES.double())
    assert swapped.weight.dtype == torch.float64


def test_bn_frozen_has_the_statistics_of_the_example():
    model = nn.Sequential(trained_net().first, nn.ReLU(), nn.BatchNorm2d(8))
    swapped = swap_norm(model, "bn_frozen", example_input=IMAGES)
    y = swapped(IMAGES)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(8), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var((0, 2, 3), correction=0), torch.ones(8), rtol=0, atol=1e-3)
    assert torch.equal(swapped[0][1].weight, model[0][1].weight)


def test_shared_modules_and_shared_parameters_stay_shared():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.BatchNorm1d(4)
            self.b = self.a
            self.tied = nn.BatchNorm1d(4)
            self.tied.weight = self.a.weight
            self.unregistered = [self.a]

        def forward(self, x):
            return self.tied(self.b(self.a(x)))

    swapped = swap_norm(Shared(), "bn", example_input=torch.randn(3, 4))
    assert isinstance(swapped.a, BatchNorm)
    assert swapped.a is swapped.b is swapped.unregistered[0]
    assert swapped.a is not swapped.tied
    assert swapped.tied.weight is swapped.a.weight


def test_the_copy_is_saved_copied_and_pickled_as_any_model():
    swapped = swap_norm(trained_net(), "ln", example_input=IMAGES)
    other = swap_norm(Net(), "ln", example_input=IMAGES)
    other.load_state_dict(swapped.state_dict())
    for model in (other, copy.deepcopy(swapped), pickle.loads(pickle.dumps(swapped))):
        assert torch.equal(model.eval()(IMAGES), swapped.eval()(IMAGES))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.aside = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(x).mean() + self.norm(x[:, :, :5]).mean()


def test_a_layer_called_with_two_shapes_is_refused_under_ln_only():
    model = Twice()
    message = r"layer norm: 'ln' has one shape .* \(3, 40, 40\) and \(3, 5, 40\); use .*'gn'"
    with pytest.raises(BadInput, match=message):
        swap_norm(model, "ln", example_input=IMAGES)
    swap_norm(model, "gn", example_input=IMAGES)(IMAGES)


class Aside(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.aside = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(x)


@pytest.mark.parametrize("norm", ["ln", "in", "bn_frozen"])
def test_a_layer_that_is_never_reached_is_refused_where_its_features_matter(norm):
    with pytest.raises(BadInput, match=r"layer aside: example_input never reaches it"):
        swap_norm(Aside(), norm, example_input=IMAGES)
    swap_norm(Aside(), "bn_scale", example_input=IMAGES)(IMAGES)


def lazy():
    return nn.Sequential(nn.LazyBatchNorm2d())


class ByKeyword(Aside):
    def forward(self, x):
        return self.norm(input=x)


REFUSED = {
    "unknown norm": (Net, "batchnorm", IMAGES, "unknown norm 'batchnorm'; allowed: bn, bn_"),
    "no batch norm": (
        lambda: nn.Linear(2, 2),
        "ln",
        torch.randn(2, 2),
        "found none in Linear; allowed: BatchNorm1d",
    ),
    "lazy": (lazy, "ln", IMAGES, "layer 0: found a LazyBatchNorm2d without .*; run the model once"),
    "no positions": (Net, "in", IMAGES, r"layer head.1: 'in' needs at least 2 .* found .*\(8,\)"),
    "one position": (
        lambda: nn.BatchNorm2d(3),
        "in",
        IMAGES[..., :1, :1],
        r"layer \(model\): 'in' needs at least 2 positions per channel; found features \(3, 1, 1\)",
    ),
    "momentum": (
        lambda: Net(momentum=None),
        "bn",
        IMAGES,
        r"layer first.1: 'bn' averages .* found momentum=None .*; set a number",
    ),
    "no running statistics": (
        lambda: Net(track_running_stats=False),
        "bn_scale",
        IMAGES,
        "layer first.1: 'bn_scale' keeps .* found track_running_stats=False",
    ),
    "by keyword": (ByKeyword, "gn", IMAGES, "layer norm: found a call by keyword; pass"),
    "wrong input": (Net, "ln", IMAGES[:, :1], r"does not run on .* \(6, 1, 40, 40\): .*channels"),
    "one sample": (Net, "gn", IMAGES[:1], r"does not run on .* \(1, 3, 40, 40\): Expected more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_swapped_is_refused(case):
    make, norm, x, message = REFUSED[case]
    with pytest.raises(BadInput, match=message):
        swap_norm(make(), norm, example_input=x)


def test_a_momentum_of_none_is_no_hindrance_for_norms_without_averages():
    for norm in FOR_VECTORS:
        if not issubclass(norm_class(norm), BatchStatistics):
            swap_norm(Net(momentum=None), norm, example_input=IMAGES)
