"""Input that `split_head` refuses, by what it says."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnblind import BadInput, split_head
from tests.helpers.cases import C, T, Y, linear, normal


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"y": Y[0]}, r"\(n, \*S\); found torch.float64 of shape \(9,\)"),
        ({"y": Y[:0], "target": T[:0]}, "at least one sample; found none"),
        ({"y": Y.long()}, "found torch.int64"),
        ({"y0": torch.zeros(3)}, r"y0 must have shape \(9,\); found \(3,\)"),
        ({"sigma": torch.ones(3)}, r"sigma must have shape \(9,\); found \(3,\)"),
        ({"target": T[:4]}, "one target per sample, 6; found 4"),
        ({"target": T[0]}, "one target per sample"),
        ({"target": T.double()}, "needs integer targets"),
        ({"target": T + 1}, "target 4 is not a class; allowed: 0 to 3"),
        ({"target": T - 1}, "target -1 is not a class"),
        ({"loss": "mse"}, r"must have the outputs' shape"),
        ({"loss": "hinge"}, "unknown loss 'hinge'; allowed: cross_entropy, mse, gaussian_nll"),
        ({"loss": lambda z, t: F.cross_entropy(z, t)}, "one number per sample"),
        ({"hdiag": "dense"}, "hdiag 'dense' is unknown; allowed"),
        ({"hdiag": 1}, "hdiag 1 is unknown"),
        ({"hdiag": True}, "hdiag True is unknown"),
        ({"dtype": torch.float16}, "float16 is not allowed"),
        ({"head": lambda v: linear(v)[:, 0]}, r"shape \(2, C\)"),
        ({"head": lambda v: linear(v)[:, None]}, r"shape \(2, C\); found \(2, 1, 4\)"),
        ({"head": lambda v: linear(v).repeat(2, 1)}, r"shape \(2, C\); found \(4, 4\)"),
        ({"head": lambda v: (linear(v), 0)}, "output"),
        ({"head": lambda v: linear(v) / 0}, "must be finite"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_input_is_refused(change, found):
    with pytest.raises(BadInput, match=found):
        split_head(**{"head": linear, "y": Y, "target": T, **change})


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_called_so(spoiled):
    y = normal(4, 6)
    y[2, 3] = spoiled
    with pytest.raises(BadInput, match="features must be finite; found NaN or infinity"):
        split_head(nn.Linear(6, 3).double(), y, torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("way", ["auto", "exact", 3])
def test_outputs_of_the_batch_that_are_no_numbers_are_refused(way):
    """NaN is not like itself: no comparison may take it for agreement."""
    y = normal(4, 6).abs()
    y[0, 3] = -5
    with pytest.raises(BadInput, match=r"(?i)\bnan\b"):
        split_head(lambda v: (v + 1).log()[:, :C], y, torch.arange(4), hdiag=way)
