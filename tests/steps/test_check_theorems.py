"""The step that checks the theorems writes a row for every case."""

import json
from pathlib import Path

import pandas as pd
import pytest

from bnblind.pipeline.steps import check_theorems
from tests.steps.conftest import call

SETTINGS = {
    **{"norms": ["bn", "none"], "losses": ["quadratic"], "points": ["zero"]},
    **{"batch_sizes": [8], "dims": [8], "eps": [0.0, 1e-5], "seeds": [0, 1]},
    "hessians": {"batch_sizes": [8], "dims": [4], "seeds": [0, 1]},
    "leak": {"channels": 3, "batch_size": 8, "eps": [1e-5]},
}


def test_theorem_tables_hold_every_case(tmp_path: Path) -> None:
    names = ("passing", "errors", "leak", "hessians", "metrics")
    call(check_theorems, settings=SETTINGS, **{name: tmp_path / name for name in names})
    passing, errors, leak, hessians = (pd.read_parquet(tmp_path / name) for name in names[:4])
    assert len(passing) == 2 * 2 * 2 * 5  # norms, eps, seeds; a quadratic's three terms, two sums
    assert len(errors) == 2 * 2 * 4
    assert set(errors["theorem"]) == {"T1", "T2", "T3", "T4"}
    assert len(leak) == 2 * 3
    assert len(hessians) == 2 * 2 * 2  # kinds of features, seeds; off-diagonal and second order
    assert hessians["relative_error"].max() < 1e-12
    independent = hessians.set_index("term")["independent"].to_dict()
    assert independent == {"offdiag": pytest.approx(6 / 7), "second": pytest.approx(6 / 7 * 3 / 4)}
    largest = json.loads((tmp_path / "metrics").read_text())["largest_deviation"]
    assert largest == errors.groupby("theorem")["error"].max().to_dict()
