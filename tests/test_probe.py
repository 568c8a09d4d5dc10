"""The probe against autograd's own gradients, and that it leaves no trace."""

import copy
import math
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bnblind import BadInput, BlindnessProbe, build_norm
from bnblind.batch_norm_calls import read

SHAPES = {nn.BatchNorm1d: (6, 4), nn.BatchNorm2d: (5, 4, 3, 2), nn.BatchNorm3d: (3, 4, 2, 2, 3)}
SHARES = ["mean_share", "scale_share", "passing"]


def random(*size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


def initialized(model, seed=1):
    """The model in float64, every parameter random."""
    for i, parameter in enumerate(model.double().parameters()):
        parameter.data = random(*parameter.shape, seed=seed + i)
    return model


def loss_of(z):
    """A loss whose gradient has a mean, a part along the features, and a rest."""
    return (z.sigmoid() * random(*z.shape, seed=9)).sum() + z.pow(3).mean() + z.mean()


def expected_row(x, z, weight, eps):
    """From autograd's gradients before and after the layer; |G|^2, mean and passing by channel."""
    G = z.grad if weight is None else z.grad * weight.detach().view(-1, *[1] * (z.dim() - 2))
    G, before, x = (v.detach().transpose(0, 1).flatten(1) for v in (G, x.grad, x))
    n, total = G.shape[1], G.square().sum()
    mean = (n * G.mean(1).square()).sum() / total
    sigma_squared = x.var(1, correction=0) + eps
    passing = (before.square().sum(1) * sigma_squared).sum() / total
    return {
        "mean_share": mean.item(),
        "scale_share": 1 - mean.item() - passing.item(),
        "passing": passing.item(),
        "grad_norm_in": before.norm().item(),
        "grad_norm_out": z.grad.norm().item(),
    }


def probed(layer, x, loss=loss_of):
    """The probe after one backward pass through the layer, its input and its output."""
    x = x.clone().requires_grad_()
    with BlindnessProbe(layer) as probe:
        z = layer(x)
        z.retain_grad()
        loss(z).backward()
    return probe, x, z


def check(row, expected, tolerance=1e-10):
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name


LAYERS = [
    *product(SHAPES, [{}]),
    (nn.SyncBatchNorm, {}),
    (nn.BatchNorm2d, {"affine": False}),
    (nn.BatchNorm2d, {"track_running_stats": False}),
    (nn.BatchNorm2d, {"momentum": None}),
    (nn.BatchNorm2d, {"eps": 0.5}),
]


@pytest.mark.parametrize("frozen", [False, True], ids=["", "frozen"])
@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=str)
def test_shares_and_norms_are_autograds(kind, options, frozen):
    shape = SHAPES.get(kind, (5, 4, 3, 2))
    layer = initialized(kind(shape[1], **options)).requires_grad_(not frozen)
    probe, x, z = probed(layer, 3 * random(*shape, seed=2) + 1)
    (row,) = probe.table().to_dict("records")
    assert row["layer"] == "(model)"
    assert (row["channels"], row["pooled"]) == (shape[1], x.numel() // shape[1])
    check(row, expected_row(x, z, layer.weight, layer.eps))


def test_three_dimensional_input_and_this_librarys_bn():
    for layer in (nn.BatchNorm1d(4), build_norm("bn", (4, 7), eps=0.0)):
        probe, x, z = probed(initialized(layer), random(5, 4, 7))
        check(probe.table().iloc[0], expected_row(x, z, layer.weight, layer.eps))


def test_an_input_without_gradient_gets_the_norm_it_would_have():
    layer, x = initialized(nn.BatchNorm1d(4)), random(6, 4)
    _, wanted, z = probed(layer, x)
    with BlindnessProbe(layer) as other:
        loss_of(layer(x)).backward()
    check(other.table().iloc[0], expected_row(wanted, z, layer.weight, layer.eps))


def network(**options):
    """A small net: three named layers, one behind the other, and one that is not called."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, **options), nn.ReLU())
            self.unused = nn.BatchNorm1d(7)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.ReLU())
            self.drop = nn.Dropout(0.3)
            self.out = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))

        def forward(self, x):
            return self.out(self.drop(self.body(self.stem(x))))

    torch.manual_seed(0)
    return Net().double()


IMAGES, LABELS = random(8, 1, 4, 4), torch.arange(8) % 3


def test_the_forward_pass_may_lie_before_the_block():
    tables = []
    for before in (False, True):
        model = network()
        torch.manual_seed(3)
        if before:
            loss = F.cross_entropy(model(IMAGES), LABELS)
        with BlindnessProbe(model) as probe:
            if not before:
                loss = F.cross_entropy(model(IMAGES), LABELS)
            loss.backward()
        tables.append(probe.table())
    assert tables[0].equals(tables[1])
    assert tables[0][["passing"]].notna().sum().item() == 3


def state(model):
    """All that the probe might have changed."""
    hooks = [
        {k: list(v) for k, v in vars(m).items() if k.endswith("_hooks")} for m in model.modules()
    ]
    modes = [m.training for m in model.modules()]
    tensors = [v.clone() for v in (*model.parameters(), *model.buffers())]
    return tensors, hooks, modes, torch.get_rng_state()


def same(a, b):
    return all(map(torch.equal, a[0], b[0])) and a[1:3] == b[1:3] and torch.equal(a[3], b[3])


def test_nothing_is_left_behind_and_gradients_are_the_same_bits():
    found = []
    for watched in (False, True):
        model = network()
        torch.manual_seed(4)
        if watched:
            with BlindnessProbe(model) as probe:
                F.cross_entropy(model(IMAGES), LABELS).backward()
            probe.table()
        else:
            F.cross_entropy(model(IMAGES), LABELS).backward()
        found.append((state(model), [p.grad for p in model.parameters()]))
    (plain, gradients), (watched, others) = found
    assert same(plain, watched)
    assert [g is None for g in gradients] == [g is None for g in others]
    assert all(torch.equal(a, b) for a, b in zip(gradients, others, strict=True) if a is not None)
    assert torch.overrides._len_torch_function_stack() == 0


def must_not_be_called(*_):
    raise AssertionError("a hook was left on the graph")


def test_after_the_block_the_graph_is_read_no_more(monkeypatch):
    layer, x = initialized(nn.BatchNorm1d(4)), random(6, 4)
    loss = loss_of(layer(x))
    with BlindnessProbe(layer):
        loss.backward(retain_graph=True)
    monkeypatch.setattr("bnblind.probe.read", must_not_be_called)
    loss.backward()


class Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ArithmeticError("the user's own failure")


def test_a_backward_call_that_raises_leaves_no_hook_and_no_reading(monkeypatch):
    layer, x = initialized(nn.BatchNorm1d(4)), random(6, 4).requires_grad_()
    z = layer(Fails.apply(x))
    probe = BlindnessProbe(layer)
    with pytest.raises(ArithmeticError, match="own failure"), probe:
        loss_of(z).backward(retain_graph=True)
    assert torch.overrides._len_torch_function_stack() == 0
    with pytest.raises(BadInput, match="no backward call"):
        probe.table()
    monkeypatch.setattr("bnblind.probe.read", must_not_be_called)
    torch.autograd.grad(loss_of(z), layer.weight)


def test_an_exception_inside_the_block_is_passed_on():
    with pytest.raises(KeyError), BlindnessProbe(nn.BatchNorm1d(2)):
        raise KeyError
    assert torch.overrides._len_torch_function_stack() == 0


def test_two_backward_calls_accumulate():
    """Shares weighted by energy; norms root mean square over the calls."""
    layer, x = initialized(nn.BatchNorm1d(4)), random(6, 4)
    rows = []
    for loss in (loss_of, lambda z: 5 * z.sin().sum()):
        probe, _, z = probed(layer, x, loss)
        rows.append((probe.table().iloc[0], (z.grad * layer.weight).square().sum().item()))
    with BlindnessProbe(layer) as both:
        z = layer(x.requires_grad_())
        loss_of(z).backward(retain_graph=True)
        torch.autograd.grad(5 * z.sin().sum(), x)
    total = sum(energy for _, energy in rows)
    expected = {name: sum(r[name] * energy for r, energy in rows) / total for name in SHARES}
    for name in ("grad_norm_in", "grad_norm_out"):
        expected[name] = math.sqrt(sum(r[name] ** 2 for r, _ in rows) / 2)
    check(both.table().iloc[0], expected)


def test_a_layer_called_twice_in_one_pass_counts_as_one_with_both_calls():
    layer, x = initialized(nn.BatchNorm1d(4)), random(6, 4).requires_grad_()
    with BlindnessProbe(nn.Sequential(layer)) as probe:
        first = layer(x)
        first.retain_grad()
        middle = first.sigmoid()
        middle.retain_grad()
        second = layer(middle)
        second.retain_grad()
        loss_of(second).backward()
    (row,) = probe.table().to_dict("records")
    assert row["layer"] == "0"
    rows = [expected_row(v, z, layer.weight, layer.eps) for v, z in ((x, first), (middle, second))]
    energies = [(z.grad * layer.weight).square().sum().item() for z in (first, second)]
    expected = {
        name: sum(r[name] * e for r, e in zip(rows, energies, strict=True)) / sum(energies)
        for name in SHARES
    }
    for name in ("grad_norm_in", "grad_norm_out"):
        expected[name] = math.hypot(*(r[name] for r in rows))
    check(row, expected)


@pytest.mark.parametrize("backward", ["method", "function", "list", "keyword", "grad", "edge"])
def test_every_way_to_call_backward_is_seen(backward):
    layer, x = initialized(nn.BatchNorm1d(4)), random(6, 4).requires_grad_()
    reference, _, _ = probed(layer, x.detach())
    loss = loss_of(layer(x))
    with BlindnessProbe(layer) as probe:
        if backward == "method":
            loss.backward(inputs=[x])
        elif backward == "grad":
            torch.autograd.grad([loss], x)
        elif backward == "keyword":
            torch.autograd.backward(tensors=loss)
        elif backward == "edge":
            edge = torch.autograd.graph.get_gradient_edge(loss)
            torch.autograd.backward(edge, torch.ones((), dtype=torch.float64), inputs=[x])
        else:
            torch.autograd.backward(loss if backward == "function" else [loss])
    check(probe.table().iloc[0], reference.table().iloc[0, 3:].to_dict())


def test_gradients_of_gradients(monkeypatch):
    """The probe's own arithmetic stays out of the second graph."""
    recording = []

    def watched_read(*args):
        recording.append(torch.is_grad_enabled())
        return read(*args)

    monkeypatch.setattr("bnblind.probe.read", watched_read)
    layer, x = initialized(nn.BatchNorm1d(4)), random(6, 4).requires_grad_()

    def penalty():
        (gradient,) = torch.autograd.grad(loss_of(layer(x)), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    with BlindnessProbe(layer) as probe:
        watched = penalty()
    assert torch.equal(watched, penalty())
    assert recording == [False, False]
    assert probe.table()[SHARES].sum(axis=1).item() == pytest.approx(1)


def test_evaluation_mode_blocks_nothing():
    layer = initialized(nn.BatchNorm2d(4))
    layer(2 * random(*SHAPES[nn.BatchNorm2d]))
    layer.eval()
    probe, x, z = probed(layer, random(*SHAPES[nn.BatchNorm2d], seed=3))
    (row,) = probe.table().to_dict("records")
    assert (row["mean_share"], row["scale_share"], row["passing"], row["pooled"]) == (0, 0, 1, 0)
    check(row, {"grad_norm_in": x.grad.norm().item(), "grad_norm_out": z.grad.norm().item()})


@pytest.mark.parametrize("training", [True, False])
def test_a_gradient_of_zero_has_no_shares(training):
    probe, _, _ = probed(
        nn.BatchNorm1d(4).double().train(training), random(6, 4), lambda z: 0 * z.sum()
    )
    (row,) = probe.table().to_dict("records")
    assert all(math.isnan(row[name]) for name in SHARES)
    assert (row["grad_norm_in"], row["grad_norm_out"]) == (0, 0)


@pytest.mark.parametrize("scale", [1e-25, 1e-15, 1e15])
@pytest.mark.parametrize("frozen", [False, True])
def test_float32_gradients_of_any_size_have_their_shares(scale, frozen):
    layer, x = nn.BatchNorm2d(4).requires_grad_(not frozen), random(5, 4, 3, 2).float()
    reference, _, _ = probed(layer, x)
    scaled, _, _ = probed(layer, x, lambda z: scale * loss_of(z))
    expected = reference.table().iloc[0]
    row = scaled.table().iloc[0]
    check(row, expected[SHARES].to_dict(), 1e-5)
    for name in ("grad_norm_in", "grad_norm_out"):
        assert row[name] == pytest.approx(scale * expected[name], rel=1e-5)


def test_channels_without_gradient_leave_the_layers_shares_defined():
    layer = nn.BatchNorm1d(4).double()
    layer.weight.data[1] = 0
    probe, x, z = probed(layer, random(6, 4), lambda z: loss_of(z[:, :3]))
    check(probe.table().iloc[0], expected_row(x, z, layer.weight, layer.eps))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mixed", [True, False])
def test_half_precision_is_read_in_float32(dtype, mixed):
    """As close to the shares of the same gradients in float64 as the rounding of x allows."""
    layer = nn.BatchNorm2d(4) if mixed else nn.BatchNorm2d(4).to(dtype)
    x = (10 * random(16, 4, 5, 5) + 30).to(dtype)
    gradient = random(16, 4, 5, 5, seed=5).to(dtype)
    with BlindnessProbe(layer) as probe:
        layer(x.requires_grad_()).backward(gradient)
    exact = nn.BatchNorm2d(4).double()
    with BlindnessProbe(exact) as reference:
        exact(x.detach().double()).backward(gradient.double())
    row = probe.table().iloc[0]
    assert probe.table()[SHARES].sum(axis=1).item() == pytest.approx(1, abs=1e-5)
    check(row, reference.table().iloc[0][SHARES].to_dict(), 1e-4)


def linear_head(labels, seed):
    """Shares of a batch norm before a linear softmax head."""
    model = initialized(nn.Sequential(nn.BatchNorm1d(16, affine=False), nn.Linear(16, 10)), seed)
    model[1].weight.data *= 1e-3
    with BlindnessProbe(model) as probe:
        F.cross_entropy(model(random(64, 16, seed=seed).requires_grad_()), labels).backward()
    return probe.table().iloc[0]


def test_of_label_pure_batches_next_to_nothing_passes_before_a_flat_softmax():
    """A batch that shares one loss: its first-order term is blocked (T1), and there is no other."""
    pure = linear_head(torch.full((64,), 3), 0)
    mixed = linear_head(torch.arange(64) % 10, 0)
    assert pure["passing"] < 1e-4
    assert pure["mean_share"] > 0.999
    assert mixed["passing"] > 0.5


def test_the_table_names_every_layer_in_the_models_order():
    model = network()
    with BlindnessProbe(model) as probe:
        F.cross_entropy(model(IMAGES), LABELS).backward()
    table = probe.table()
    assert table["layer"].tolist() == ["stem.1", "unused", "body.2", "out.1"]
    assert table["channels"].tolist() == [4, 7, 5, 3]
    assert table["pooled"].astype(object).where(table["pooled"].notna(), None).tolist() == [
        32, None, 8, 8,
    ]  # fmt: skip
    assert table.iloc[1, 3:].isna().all()
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        "layer": "str",
        "channels": "int64",
        "pooled": "Int64",
        **dict.fromkeys([*SHARES, "grad_norm_in", "grad_norm_out"], "float64"),
    }


def test_calls_without_parameters_or_statistics_are_named_by_their_place():
    model = nn.Sequential(
        nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False, track_running_stats=False)
    ).double()
    with BlindnessProbe(model) as probe:
        z = F.batch_norm(model(random(6, 4)), None, None, training=True)
        loss_of(z).backward()
    assert probe.table()["layer"].tolist() == ["0", "(batch norm 2)", "(batch norm 3)"]
    assert probe.table()["passing"].notna().all()


def test_functional_batch_norm_with_a_layers_own_parameters_is_that_layers():
    layer = initialized(nn.BatchNorm1d(4, track_running_stats=False))
    with BlindnessProbe(nn.Sequential(layer)) as probe:
        z = F.batch_norm(random(6, 4), None, None, layer.weight, layer.bias, training=True)
        loss_of(z).backward()
    assert probe.table()["layer"].tolist() == ["0"]


def test_tied_weights_are_told_apart_by_the_running_statistics():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4)).double()
    model[1].weight = model[0].weight
    with BlindnessProbe(model) as probe:
        loss_of(model(random(6, 4))).backward()
    table = probe.table()
    assert table["layer"].tolist() == ["0", "1"]
    assert table["passing"].notna().all()


def test_instance_norm_is_not_taken_for_batch_norm():
    model = nn.Sequential(nn.InstanceNorm2d(4, affine=True), nn.BatchNorm2d(4)).double()
    with BlindnessProbe(model) as probe:
        loss_of(model(random(5, 4, 3, 2))).backward()
    assert probe.table()["layer"].tolist() == ["1"]


def test_the_block_may_be_entered_again_but_not_within_itself():
    layer = nn.BatchNorm1d(4).double()
    probe = BlindnessProbe(layer)
    for _ in range(2):
        with probe:
            loss_of(layer(random(6, 4))).backward()
    reference, _, _ = probed(copy.deepcopy(layer), random(6, 4))
    check(probe.table().iloc[0], reference.table().iloc[0, 3:].to_dict())
    with probe, pytest.raises(BadInput, match="active already"):
        probe.__enter__()


def test_a_model_without_batch_norm_is_refused():
    with pytest.raises(BadInput, match=r"found none in Sequential; allowed: BatchNorm1d"):
        BlindnessProbe(nn.Sequential(nn.Linear(2, 2), build_norm("ln", (2,))))


def test_a_table_before_any_backward_call_is_refused():
    with BlindnessProbe(nn.BatchNorm1d(2)) as probe:
        pass
    with pytest.raises(BadInput, match=r"no backward call; call loss.backward\(\) inside"):
        probe.table()


class SyncBatchNorm(torch.autograd.Function):
    """Under the name of the node that torch makes for several processes."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_is_refused_before_anything_runs(reentrant):
    model = network()
    x = IMAGES.clone().requires_grad_()
    loss = checkpoint(model, x, use_reentrant=reentrant).sum()
    before = state(model)
    with BlindnessProbe(model), pytest.raises(BadInput, match="checkpointing; switch it off"):
        loss.backward()
    assert same(before, state(model))


def test_several_processes_and_batched_gradients_are_refused():
    layer, x = nn.BatchNorm1d(4).double(), random(6, 4).requires_grad_()
    z = layer(x)
    with BlindnessProbe(layer), pytest.raises(BadInput, match="several processes"):
        SyncBatchNorm.apply(z).sum().backward()
    with BlindnessProbe(layer), pytest.raises(BadInput, match="found is_grads_batched"):
        torch.autograd.grad(z, x, z.new_ones(2, 6, 4), is_grads_batched=True)
