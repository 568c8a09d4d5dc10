"""What a probe says of layers that it could not measure, of batches that were lost, and of a whole
training; and that no step waits for it.
"""

import math

import pandas as pd
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from bnblind import BadInput, BlindnessProbe, batch_norm_calls
from bnblind import probe as module
from tests.helpers.cases import normal
from tests.helpers.probing import IMAGES, LABELS, SHARES, check, initialized, loss_of, network

NUMBERS = [*SHARES, "grad_norm_in", "grad_norm_out"]


class OwnArithmetic(nn.BatchNorm1d):
    """Normalizes without torch's batch norm."""

    def forward(self, x):
        return (x - x.mean(0)) / x.std(0) * self.weight + self.bias


class Net(nn.Module):
    """Of each kind of answer one layer."""

    def __init__(self):
        super().__init__()
        self.seen, self.dead, self.unused, self.hidden = (
            kind(4) for kind in (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm1d, OwnArithmetic)
        )

    def forward(self, x):
        return self.hidden(self.seen(x)) + 0 * self.dead(x)


def test_what_was_not_measured_is_four_different_things():
    model = Net().double()
    with BlindnessProbe(model) as probe:
        loss_of(model(normal(6, 4))).backward()
    table = probe.table().set_index("layer")
    assert table["found"].to_dict() == {
        "seen": "measured",
        "dead": "gradient 0",
        "unused": "not reached",
        "hidden": "cannot be seen",
    }
    assert table.loc["seen", NUMBERS].notna().all()
    assert table.loc[["dead", "unused", "hidden"], SHARES].isna().all(axis=None)
    assert table.loc["dead", ["grad_norm_in", "grad_norm_out"]].tolist() == [0, 0]
    with BlindnessProbe(model.seen) as probe:
        (model.seen(normal(6, 4)) * math.inf).sum().backward()
    assert probe.table()[["found", "not_finite"]].values.tolist() == [["not finite", 1]]


@pytest.mark.parametrize("case", ["frozen", "without weight"])
def test_where_no_gradient_would_tell_nothing_is_called_not_reached(case):
    model = nn.Sequential(nn.BatchNorm1d(4), OwnArithmetic(4), nn.BatchNorm1d(4)).double()
    model[2].forward = lambda x: x
    if case == "frozen":
        model[1].requires_grad_(False)
    else:
        model[1].forward, model[1].weight = lambda x: x / x.std(0), None
    with BlindnessProbe(model) as probe:
        loss_of(model(normal(6, 4))).backward()
    assert [*probe.table()["found"]] == ["measured", "cannot be seen", "not reached"]


def test_a_call_with_other_weights_than_the_layers_may_be_the_layers():
    first = nn.BatchNorm1d(4, track_running_stats=False)
    model = nn.Sequential(first, nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    other = {name: 2 * value.detach() for name, value in model.named_parameters()}
    with BlindnessProbe(model) as probe:
        loss_of(functional_call(model, other, (normal(6, 4).requires_grad_(),))).backward()
    table = probe.table().set_index("layer")["found"].to_dict()
    assert table == {"0": "cannot be seen", "2": "measured", "(batch norm 1)": "measured"}


@pytest.mark.parametrize("every", [0, 1])
def test_nothing_can_be_drawn_before_something_was_seen(every):
    for ask in (BlindnessProbe.table, BlindnessProbe.plot):
        with pytest.raises(BadInput, match="has seen no backward call"):
            ask(BlindnessProbe(network(), every=every))
    for wrong in (-1, 1.5, None):
        with pytest.raises(BadInput, match=f"every must be a whole number.* found {wrong}"):
            BlindnessProbe(network(), every=wrong)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_batch_that_is_not_finite_spoils_nothing(value, frozen):
    """As under a loss scaler; before it, and after it."""
    layer, x = initialized(nn.BatchNorm1d(4)).requires_grad_(not frozen), normal(6, 4)
    with BlindnessProbe(layer) as clean:
        for _ in range(2):
            loss_of(layer(x.clone().requires_grad_())).backward()
    with BlindnessProbe(layer) as probe:
        for factor in (1.0, value, 1.0):
            (factor * loss_of(layer(x.clone().requires_grad_()))).backward()
    (row,) = probe.table().to_dict("records")
    check(row, {name: clean.table().iloc[0][name] for name in NUMBERS})
    assert (row["found"], row["not_finite"], probe.steps) == ("measured", 1, 3)


class Reads(TorchDispatchMode):
    """Counts the numbers that are read off tensors, for which a GPU has to finish its work."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.is_nonzero.default,
            torch.ops.aten.nonzero.default,
        )
        return func(*args, **(kwargs or {}))


def test_no_step_waits_for_the_probe(monkeypatch):
    """On a device that would have to be waited for."""
    monkeypatch.setattr(batch_norm_calls, "NEVER_WAITS", frozenset())
    model = network().float()
    with BlindnessProbe(model, every=1) as probe, Reads() as reads:
        for dtype in (torch.float32, torch.bfloat16):
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                loss = F.cross_entropy(model(IMAGES.float()), LABELS)
            loss.backward()
    assert reads.count == 0
    with Reads() as reads:
        loss.item()
    assert reads.count == 1, "a number that is read is counted"
    assert (probe.table()["found"] == "measured").sum() == 3


def filmed(steps, **options):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe, tables = BlindnessProbe(model, **options), []
    for _ in range(steps):
        loss = F.cross_entropy(model(IMAGES), LABELS)
        with BlindnessProbe(model) as alone:
            loss.backward(retain_graph=True)
        tables.append(alone.table())
        optimizer.zero_grad()
        with probe:
            loss.backward()
        optimizer.step()
    return probe, tables


def test_a_history_has_a_row_for_each_kept_step_and_layer():
    probe, tables = filmed(5, every=2)
    found = probe.history()
    assert found["step"].unique().tolist() == [1, 3, 5]
    assert found["layer"].tolist() == ["stem.1", "body.2", "out.1"] * 3
    for step, rows in found.groupby("step"):
        alone = tables[step - 1].query("found == 'measured'")
        for name in NUMBERS:
            assert rows[name].tolist() == pytest.approx(alone[name].tolist())
    assert probe.steps == 5
    figure = probe.plot()
    (axes, _) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["stem.1", "body.2", "out.1"]
    assert axes.images[0].get_array().shape == (3, 3)


def test_a_history_stays_within_its_memory(monkeypatch):
    monkeypatch.setattr(module, "FRAMES", 4)
    probe, _ = filmed(11, every=1)
    steps = probe.history()["step"].unique().tolist()
    assert steps == [1, 5, 9]
    assert probe.steps == 11


def test_what_is_forgotten_is_gone():
    probe, _ = filmed(2, every=1)
    probe.reset()
    assert probe.steps == 0
    assert probe.history().empty
    with pytest.raises(BadInput, match="no backward call"):
        probe.table()


def test_a_history_is_kept_in_parquet(tmp_path):
    history = filmed(3, every=1)[0].history()
    history.to_parquet(tmp_path / "probe.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "probe.parquet"), history)


def test_without_every_there_is_no_history():
    probe, _ = filmed(1)
    with pytest.raises(BadInput, match="keeps no history; make it with every=1"):
        probe.history()
    assert len(probe.plot().axes[0].containers) == len(SHARES)
    with pytest.raises(BadInput, match="every must be a whole number, at least 0; found -1"):
        BlindnessProbe(network(), every=-1)


def test_two_probes_are_compared_by_layer():
    first, _ = filmed(1)
    second, _ = filmed(3)
    found = first.compare(second).set_index("layer")
    for ending, probe in (("_1", first), ("_2", second)):
        own = probe.table().set_index("layer")[NUMBERS]
        pd.testing.assert_frame_equal(
            found[[f"{name}{ending}" for name in NUMBERS]].set_axis(NUMBERS, axis=1), own
        )
    change = found["passing_2"] - found["passing_1"]
    pd.testing.assert_series_equal(found["passing_change"], change, check_names=False)


def test_a_lazy_layer_has_to_see_features_first():
    with pytest.raises(BadInput, match="layer 0: found a LazyBatchNorm1d without number of chan"):
        BlindnessProbe(nn.Sequential(nn.LazyBatchNorm1d()))
