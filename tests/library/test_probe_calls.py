"""Forward and backward calls that the probe sees, and the layers it takes them for."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import BlindnessProbe
from bnblind.batch_norm_calls import arrived
from tests.helpers.cases import normal
from tests.helpers.probing import (
    IMAGES,
    LABELS,
    SHARES,
    check,
    expected_row,
    initialized,
    loss_of,
    network,
    probed,
)


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


def test_two_backward_calls_accumulate():
    """Shares weighted by energy; norms root mean square over the calls."""
    layer, x = initialized(nn.BatchNorm1d(4)), normal(6, 4)
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
    layer, x = initialized(nn.BatchNorm1d(4)), normal(6, 4).requires_grad_()
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
    layer, x = initialized(nn.BatchNorm1d(4)), normal(6, 4).requires_grad_()
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
    check(probe.table().iloc[0], reference.table().iloc[0, 3:8].to_dict())


def test_gradients_of_gradients(monkeypatch):
    """The probe's own arithmetic stays out of the second graph."""
    recording = []

    def watched_read(*args):
        recording.append(torch.is_grad_enabled())
        return arrived(*args)

    monkeypatch.setattr("bnblind.probe.arrived", watched_read)
    layer, x = initialized(nn.BatchNorm1d(4)), normal(6, 4).requires_grad_()

    def penalty():
        (gradient,) = torch.autograd.grad(loss_of(layer(x)), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    with BlindnessProbe(layer) as probe:
        watched = penalty()
    assert torch.equal(watched, penalty())
    assert recording == [False, False]
    assert probe.table()[SHARES].sum(axis=1).item() == pytest.approx(1)


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
    assert table.loc[1, [*SHARES, "grad_norm_in", "grad_norm_out"]].isna().all()
    assert table["found"].tolist() == ["measured", "not reached", "measured", "measured"]
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        "layer": "str",
        "channels": "int64",
        "pooled": "Int64",
        **dict.fromkeys([*SHARES, "grad_norm_in", "grad_norm_out"], "float64"),
        "found": "str",
        "not_finite": "int64",
    }


def test_calls_without_parameters_or_statistics_are_named_by_their_place():
    model = nn.Sequential(
        nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False, track_running_stats=False)
    ).double()
    with BlindnessProbe(model) as probe:
        z = F.batch_norm(model(normal(6, 4)), None, None, training=True)
        loss_of(z).backward()
    assert probe.table()["layer"].tolist() == ["0", "(batch norm 2)", "(batch norm 3)"]
    assert probe.table()["passing"].notna().all()


def test_functional_batch_norm_with_a_layers_own_parameters_is_that_layers():
    layer = initialized(nn.BatchNorm1d(4, track_running_stats=False))
    with BlindnessProbe(nn.Sequential(layer)) as probe:
        z = F.batch_norm(normal(6, 4), None, None, layer.weight, layer.bias, training=True)
        loss_of(z).backward()
    assert probe.table()["layer"].tolist() == ["0"]


def test_tied_weights_are_told_apart_by_the_running_statistics():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4)).double()
    model[1].weight = model[0].weight
    with BlindnessProbe(model) as probe:
        loss_of(model(normal(6, 4))).backward()
    table = probe.table()
    assert table["layer"].tolist() == ["0", "1"]
    assert table["passing"].notna().all()


def test_instance_norm_is_not_taken_for_batch_norm():
    model = nn.Sequential(nn.InstanceNorm2d(4, affine=True), nn.BatchNorm2d(4)).double()
    with BlindnessProbe(model) as probe:
        loss_of(model(normal(5, 4, 3, 2))).backward()
    assert probe.table()["layer"].tolist() == ["1"]
