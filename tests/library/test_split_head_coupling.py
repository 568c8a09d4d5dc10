"""Heads whose rows are not independent, or random, are refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import BadInput, split_head, standardize
from tests.helpers.cases import DRAWN, IMAGE, OTHER_OUTPUTS, OUT, C, W, normal


def functional_batch_norm(v):
    return torch.batch_norm(v, None, None, None, None, True, 0.1, 1e-5, False)


# A head, and what the refusal says of it.
COUPLED = {
    "train_mode_batch_norm": (
        nn.Sequential(nn.Linear(9, 7), nn.BatchNorm1d(7), nn.Linear(7, C)),
        r"1' \(BatchNorm1d\) takes its statistics from the batch",
    ),
    "without_running_statistics": (
        nn.Sequential(nn.BatchNorm1d(9, track_running_stats=False), nn.Linear(9, C)).eval(),
        r"0' \(BatchNorm1d\) takes its statistics from the batch",
    ),
    "dropout": (
        nn.Sequential(nn.Dropout(0.1), nn.Linear(9, C)),
        r"0' \(Dropout, p = 0\.1\) is in training mode",
    ),
    "centering": (lambda v: (v - v.mean(0)) @ normal(9, C), OTHER_OUTPUTS),
    "functional_batch_norm": (lambda v: functional_batch_norm(v @ W) @ OUT, OTHER_OUTPUTS),
    "F.batch_norm": (
        lambda v: F.batch_norm(v @ W, None, None, training=True) @ OUT,
        f"does not take a batch of 1 rows: .* couple them|{OTHER_OUTPUTS}",
    ),
    "functional_dropout": (lambda v: F.dropout(v @ W + 1, 0.3) @ OUT, DRAWN),
    "functional_dropout_of_zeros": (lambda v: F.dropout(v, 0.3) @ normal(9, C), DRAWN),
    "rare_noise": (
        lambda v: v @ normal(9, C) * (1 + (torch.rand(len(v), 1) < 1e-3)),
        DRAWN,
    ),
    "random_relu": (
        nn.Sequential(nn.Linear(9, 7), nn.RReLU(), nn.Linear(7, C)),
        r"1' \(RReLU\) draws random numbers",
    ),
}
# Refused for all draws, not only where the draws of two rows happen to differ.
RANDOM = {name for name, (_, said) in COUPLED.items() if "draws" in said}


@pytest.mark.parametrize("curved", [False, True], ids=["piecewise_linear", "curved"])
@pytest.mark.parametrize("way", ["auto", "exact", 3])
@pytest.mark.parametrize("name", COUPLED)
def test_samples_that_are_coupled_or_random_are_refused(name, way, curved):
    coupled, said = COUPLED[name]
    head = coupled
    if curved and isinstance(head, nn.Module):
        head = nn.Sequential(head, nn.Tanh())
    elif curved:
        head = lambda v: torch.tanh(coupled(v))  # noqa: E731
    for seed in range(10 if name in RANDOM else 1):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        with pytest.raises(BadInput, match=said):
            split_head(head, normal(6, 9), torch.arange(6) % C, hdiag=way)
        assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("way", ["auto", "exact"])
@pytest.mark.parametrize("point", ["zero", "mean"])
def test_images_coupled_by_a_function_are_refused(point, way):
    """One image has statistics of its own, so that a batch of copies shows nothing."""
    y = standardize(normal(6, *IMAGE))[0]
    y0 = {"zero": torch.zeros(IMAGE).double(), "mean": y.mean(0)}[point]

    def head(v):
        return F.gelu(F.batch_norm(v, None, None, training=True)).mean((2, 3)) @ normal(3, C)

    with pytest.raises(BadInput, match=OTHER_OUTPUTS):
        split_head(head, y, torch.arange(6) % C, y0, hdiag=way)


@pytest.mark.parametrize(
    ("layer", "cause", "advice"),
    [
        (nn.BatchNorm1d(9), "couples the samples", "BlindnessProbe measures it"),
        (nn.Dropout(0.5), "p = 0.5", "model.get_submodule('1.0').eval()"),
    ],
    ids=["batch_norm", "dropout"],
)
def test_refusal_names_the_layer_the_cause_and_what_to_do(layer, cause, advice):
    head = nn.Sequential(nn.Linear(9, 9), nn.Sequential(layer), nn.Linear(9, C))
    with pytest.raises(BadInput) as refusal:
        split_head(head, normal(6, 9), torch.arange(6) % C)
    message = str(refusal.value)
    assert f"layer '1.0' ({type(layer).__name__}" in message
    assert cause in message
    assert advice in message


def test_dropout_in_evaluation_mode_is_allowed():
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(9, C)).eval()
    assert split_head(head, normal(6, 9), torch.arange(6) % C).method.startswith("fused")


def test_dropout_of_nothing_is_allowed():
    head = nn.Sequential(nn.Dropout(0.0), nn.Linear(9, C))
    assert split_head(head, normal(6, 9), torch.arange(6) % C).method.startswith("fused")


@pytest.mark.parametrize(("dtype", "share"), [(torch.float64, 1e-8), (torch.float32, 1e-2)])
@pytest.mark.parametrize("way", ["auto", "exact", 3])
def test_weak_coupling_is_refused(way, dtype, share):
    def head(v):
        return (v + share * v.mean(0)) @ normal(9, C).to(dtype)

    with pytest.raises(BadInput, match=OTHER_OUTPUTS):
        split_head(head, normal(6, 9), torch.arange(6) % C, hdiag=way, dtype=dtype)


def test_rows_that_reach_only_those_behind_them_are_refused():
    """The first row of a batch is as it is alone."""

    def head(v):
        return (v + torch.cat([torch.zeros_like(v[:1]), v[:-1]])) @ normal(9, C)

    with pytest.raises(BadInput, match=OTHER_OUTPUTS):
        split_head(head, normal(6, 9), torch.arange(6) % C)
