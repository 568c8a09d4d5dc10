"""The steps of the flow experiment on real data, called in this process."""

import hashlib
import json

import pandas as pd
import pytest

from bnblind import BadInput
from bnblind.experiments.intervals import t_interval
from bnblind.pipeline import collect_flows, train_flow
from bnblind.pipeline.prepared import dataset_bytes
from bnblind.pipeline.tensors import read_tensors

CELL = {
    **{"dataset": "digits", "levels": 17, "pair": [9, 8], "coupling": "mlp", "couplings": 2},
    **{"width": 8, "depth": 1, "constraint": 0.9, "norm": "bn", "coupling_norm": "none"},
    **{"batching": "label", "lr": 0.001, "optimizer": {"name": "adamax"}, "batch_size": 64},
    **{"scale_regularization": 5e-5, "epochs": 2, "patience": 2, "mixtures": 8, "samples": 4},
    "seeds": [4, 3],
}
OUTPUTS = ("weights", "results", "samples")


def train(folder, cell, **changes):
    options = {
        "cell": json.dumps(cell),
        "prepared": folder / "prepared",
        "checkpoint": folder / "checkpoint",
        **{name: folder / name for name in OUTPUTS},
        **changes,
    }
    train_flow.main([word for name, value in options.items() for word in (f"--{name}", str(value))])


def collect(folder, cells):
    outputs = ["--table", str(folder / "table"), "--metrics", str(folder / "metrics")]
    collect_flows.main(["--cells", *map(str, cells), *outputs])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("flows")
    (folder / "prepared").write_bytes(dataset_bytes(digits, {}))
    train(folder, CELL)
    return folder


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_results_are_long_and_tidy(folder):
    """One row a (cell, seed, epoch, metric, share); the share is there for mixtures only."""
    table = pd.read_parquet(folder / "results")
    assert table.columns.tolist() == [*collect_flows.ORDER, "value"]
    assert not table.duplicated(collect_flows.ORDER).any()
    cell = table[collect_flows.CELL].drop_duplicates().values.tolist()
    assert cell == [["digits", "9v8", "mlp", "bn", "none", "label"]]
    assert table["seed"].unique().tolist() == [4, 3]
    mixtures = table["metric"].str.contains("mixed|gap|auc")
    assert table.loc[mixtures, "share"].notna().all()
    assert table.loc[~mixtures, "share"].isna().all()
    curve = table[(table["metric"] == "test.plain.mixed.mean") & (table["seed"] == 3)]
    assert curve["share"].tolist() == pytest.approx([i / 10 for i in range(11)])


def test_weights_are_the_best_epochs_and_samples_of_both_kinds(folder):
    table = pd.read_parquet(folder / "results")
    weights, description = read_tensors(folder / "weights")
    best = {}
    for seed, rows in table[table["metric"] == "validation.log_likelihood"].groupby("seed"):
        best[seed] = rows.set_index("epoch")["value"].idxmax()
    assert {name.rsplit("/", 1)[0] for name in weights} == {
        f"seed{seed}/epoch{epoch:03d}" for seed, epoch in best.items()
    }
    assert description["pair"] == [9, 8]
    samples, key = read_tensors(folder / "samples")
    assert set(samples) == {
        f"seed{seed}/{kind}" for seed in (3, 4) for kind in ("plain", "recalibrated")
    }
    assert key["pair"] == "9v8"


def test_a_refused_cell_leaves_earlier_results(folder):
    before = hashes(folder)
    with pytest.raises(BadInput, match="unknown coupling norm"):
        train(folder, {**CELL, "coupling_norm": "x"})
    assert hashes(folder) == before


def test_cells_are_collected_in_one_order_with_intervals(folder, tmp_path):
    """Whatever the order they are given in."""
    other = pd.read_parquet(folder / "results").assign(norm="ln")
    other.to_parquet(tmp_path / "ln")
    found = []
    for cells in ([folder / "results", tmp_path / "ln"], [tmp_path / "ln", folder / "results"]):
        collect(tmp_path, cells)
        found.append(hashes(tmp_path))
    assert found[0] == found[1]
    metrics = json.loads((tmp_path / "metrics").read_text())
    gaps = other[other["metric"] == "test.plain.gap"]["value"].tolist()
    assert len(gaps) == 2
    mean, low, high = t_interval(gaps)
    expected = {"mean": mean, "low": low, "high": high}
    assert metrics["digits-9v8-mlp-ln-none-label"]["test.plain.gap"] == pytest.approx(expected)


def test_a_run_that_comes_twice_is_refused(folder, tmp_path):
    with pytest.raises(BadInput, match=r"two grids hold the same run: .*'norm': 'bn'"):
        collect(tmp_path, [folder / "results", folder / "results"])
    assert not list(tmp_path.iterdir())
