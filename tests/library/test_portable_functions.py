"""No function whose bits depend on the processor is used where results are computed."""

import ast
import math

import pytest
import torch

from bnblind.standardization import square_root
from tests.conftest import ROOT

# torch computes these with a library that starts from the processor's own estimates: under
# emulation of another processor their last bits differ (see tests/clones/test_portability.py).
UNPORTABLE = {"sqrt", "sqrt_", "asin", "acos", "atan"}

SOURCES = [
    path
    for folder in (".", "experiments", "experiments/flows", "pipeline")
    for path in sorted((ROOT / "src/bnblind" / folder).glob("*.py"))
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_computing_code_calls_none_of_them(path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)}
    assert not names & UNPORTABLE


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_square_root_is_within_two_units_in_the_last_place(dtype: torch.dtype) -> None:
    v = torch.logspace(-30, 30, 1000, dtype=dtype)
    exact = torch.tensor([math.sqrt(value) for value in v.tolist()], dtype=torch.float64)
    assert ((square_root(v).double() - exact).abs() / exact).max() <= 2 * torch.finfo(dtype).eps
    assert square_root(torch.zeros(1, dtype=dtype)).item() == 0
