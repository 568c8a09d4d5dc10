"""The steps of the flow experiment on real data, called in this process."""

import hashlib
import json

import pandas as pd
import pytest
import torch

from bnblind import BadInput
from bnblind.experiments.intervals import t_interval
from bnblind.pipeline import collect_flows, list_weights, train_flow
from bnblind.pipeline.formats.prepared import dataset_bytes
from bnblind.pipeline.formats.tensors import read_tensors, tensors_bytes

CELL = {
    **{"dataset": "digits", "levels": 17, "pair": [9, 8], "coupling": "mlp", "couplings": 2},
    **{"width": 8, "depth": 1, "constraint": 0.9, "norm": "bn", "coupling_norm": "none"},
    **{"batching": "label", "lr": 0.001, "optimizer": {"name": "adamax"}, "batch_size": 64},
    **{"scale_regularization": 5e-5, "epochs": 2, "patience": 2, "mixtures": 8, "samples": 4},
    "seeds": [4, 3],
}
OTHER = {**CELL, "pair": [1, 0], "seeds": [4]}
OUTPUTS = ("weights", "results", "samples")


def train(folder, *cells, **changes):
    options = {
        "cells": json.dumps(cells),
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
    train(folder, CELL, OTHER)
    return folder


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_results_are_long_and_tidy(folder):
    """One row per (cell, seed, epoch, metric, share); the share is there for mixtures only."""
    table = pd.read_parquet(folder / "results")
    assert table.columns.tolist() == [*collect_flows.ORDER, "value"]
    assert not table.duplicated(collect_flows.ORDER).any()
    cell = table[collect_flows.CELL].drop_duplicates().values.tolist()
    assert cell == [["digits", pair, "mlp", "bn", "none", "label"] for pair in ("9v8", "1v0")]
    assert table.groupby("pair")["seed"].unique().map(list).to_dict() == {"9v8": [4, 3], "1v0": [4]}
    mixtures = table["metric"].str.contains("mixed|gap|auc")
    assert table.loc[mixtures, "share"].notna().all()
    assert table.loc[~mixtures, "share"].isna().all()
    curve = table[(table["metric"] == "test.plain.mixed.mean") & (table["seed"] == 3)]
    assert curve["share"].tolist() == pytest.approx([i / 10 for i in range(11)])


def test_weights_are_the_best_epochs_and_samples_of_both_kinds(folder):
    table = pd.read_parquet(folder / "results")
    weights, description = read_tensors(folder / "weights")
    best = {}
    judged = table[table["metric"] == "validation.log_likelihood"]
    for (pair, seed), rows in judged.groupby(["pair", "seed"]):
        best[f"{pair}-label/seed{seed}"] = rows.set_index("epoch")["value"].idxmax()
    assert {name.rsplit("/", 1)[0] for name in weights} == {
        f"{run}/epoch{epoch:03d}" for run, epoch in best.items()
    }
    assert [cell["pair"] for cell in description["cells"]] == [[9, 8], [1, 0]]
    samples, description = read_tensors(folder / "samples")
    assert set(samples) == {f"{run}/{kind}" for run in best for kind in ("plain", "recalibrated")}
    assert {key: cell["pair"] for key, cell in description["cells"].items()} == {
        "9v8-label": "9v8",
        "1v0-label": "1v0",
    }


def test_each_cell_of_a_job_is_trained_as_if_alone(folder, tmp_path):
    (tmp_path / "prepared").write_bytes((folder / "prepared").read_bytes())
    train(tmp_path, OTHER)
    for name in ("weights", "samples"):
        together, _ = read_tensors(folder / name)
        alone, _ = read_tensors(tmp_path / name)
        assert alone
        for key, tensor in alone.items():
            assert torch.equal(tensor, together[key])


def test_the_listing_holds_every_flow_at_one_epoch(folder, tmp_path):
    listing = tmp_path / "listing"
    flows = [str(folder / "weights")]
    list_weights.main(["--networks", "--flows", *flows, "--listing", str(listing)])
    (entry,) = json.loads(listing.read_text()).values()
    assert {key: [*seeds] for key, seeds in entry["epochs"].items()} == {
        "9v8-label": ["seed3", "seed4"],
        "1v0-label": ["seed4"],
    }
    tensors, description = read_tensors(folder / "weights")
    kept = {name: t for name, t in tensors.items() if not name.startswith("9v8-label/seed3")}
    (tmp_path / "weights").write_bytes(tensors_bytes(kept, description))
    with pytest.raises(BadInput, match="its settings promise"):
        list_weights.main(
            ["--networks", "--flows", str(tmp_path / "weights"), "--listing", str(listing)]
        )


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
    gaps = other[(other["metric"] == "test.plain.gap") & (other["pair"] == "9v8")]
    gaps = gaps["value"].tolist()
    assert len(gaps) == 2
    mean, low, high = t_interval(gaps)
    expected = {"mean": mean, "low": low, "high": high}
    assert metrics["digits-9v8-mlp-ln-none-label"]["test.plain.gap"] == pytest.approx(expected)


def test_a_run_that_comes_twice_is_refused(folder, tmp_path):
    with pytest.raises(BadInput, match=r"two grids hold the same run: .*'norm': 'bn'"):
        collect(tmp_path, [folder / "results", folder / "results"])
    assert not list(tmp_path.iterdir())
