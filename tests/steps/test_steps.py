"""The steps on real data, called in this process: what they write, and that a wrong input
leaves what was there before.
"""

import hashlib
import json

import pandas as pd
import pytest
import torch
from bnblind.experiments.training import Cell

from bnblind import BadInput
from bnblind.experiments import training
from bnblind.experiments.datasets import SPLITS
from bnblind.pipeline import collect, export_data, list_weights, prepare_data, theorems, train
from bnblind.pipeline.formats.prepared import read_dataset
from bnblind.pipeline.formats.tensors import read_tensors, tensors_bytes
from bnblind.pipeline.formats.weights import kept_weights

SPLIT = {"seed": 0, "validation": 0.15, "test": 0.2}
CELL = {
    **{"dataset": "digits", "model": "head", "norm": "ln", "batching": "label", "lr": 0.01},
    **{"batch_size": 64, "epochs": 2, "seeds": [4, 3], "snapshots": [1]},
    "optimizer": {"name": "sgd", "momentum": 0.9},
}
CELLS = json.dumps([CELL, {**CELL, "batching": "random", "seeds": [3], "snapshots": []}])
THEOREMS = {
    **{"norms": ["bn", "none"], "losses": ["quadratic"], "points": ["zero"]},
    **{"batch_sizes": [8], "dims": [8], "eps": [0.0, 1e-5], "seeds": [0, 1]},
    "leak": {"channels": 3, "batch_size": 8, "eps": [1e-5]},
}


def call(step, **options):
    """Call a step as its command line would; dicts travel as JSON."""
    words = []
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name}", *(json.dumps(v) if isinstance(v, dict) else str(v) for v in values)]
    step.main(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, registered):
    """Raw and prepared digits, two trained cells."""
    folder = tmp_path_factory.mktemp("pipeline")
    call(export_data, registered=registered, raw=folder / "raw")
    prepare(folder, registered)
    call(
        train,
        cells=CELLS,
        prepared=folder / "prepared",
        checkpoint=folder / "checkpoint",
        weights=folder / "weights",
        results=folder / "results",
    )
    return folder


def prepare(folder, registered, **changes):
    options = {
        **{"dataset": "digits", "registered": registered, "split": SPLIT, "raw": folder / "raw"},
        **{"prepared": folder / "prepared", "manifest": folder / "manifest"},
    }
    call(prepare_data, **{**options, **changes})


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_the_raw_file_is_the_registered_one(folder, registered):
    assert hashes(folder)["raw"] == registered["sha256"]


def test_prepared_data_are_the_split_data_set(folder, digits):
    prepared = read_dataset(folder / "prepared")
    for name in SPLITS:
        found, expected = getattr(prepared, name), getattr(digits, name)
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.labels, expected.labels)
    assert torch.equal(prepared.mean, digits.mean)
    assert torch.equal(prepared.std, digits.std)


def test_the_manifest_describes_the_prepared_data(folder, registered):
    manifest = json.loads((folder / "manifest").read_text())
    assert manifest["prepared_sha256"] == hashes(folder)["prepared"]
    assert manifest["raw_sha256"] == registered["sha256"]
    assert manifest["licence"] == registered["licence"]
    assert manifest["split"] == SPLIT
    prepared = read_dataset(folder / "prepared")
    for name in SPLITS:
        part, labels = manifest["parts"][name], getattr(prepared, name).labels
        assert part["samples"] == len(labels) == len(part["rows"]) == sum(part["by_class"])
        assert part["by_class"][3] == (labels == 3).sum()


@pytest.mark.parametrize("position", [0, 100, -1])
def test_a_raw_file_of_which_one_byte_was_changed_is_refused(folder, registered, position):
    content = bytearray((folder / "raw").read_bytes())
    content[position] ^= 1
    damaged = folder.parent / "damaged.csv.gz"
    damaged.write_bytes(content)
    before = hashes(folder)
    with pytest.raises(BadInput, match=r"damaged\.csv\.gz: sha256 is .*, registered is 09f66e6d"):
        prepare(folder, registered, raw=damaged)
    assert hashes(folder) == before


def test_data_of_another_shape_than_registered_are_refused(folder, registered):
    before = hashes(folder)
    with pytest.raises(BadInput, match=r"\[1, 8, 8\].*registered is .*\[3, 8, 8\]"):
        prepare(folder, {**registered, "shape": [3, 8, 8]})
    assert hashes(folder) == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://example.org/x", "unknown source 'https://example.org/x'; allowed: package:"),
        ("package:sklearn.datasets.data/x.csv", "package sklearn.datasets.data holds no file x"),
    ],
)
def test_a_source_that_is_not_there_is_refused(source, message):
    with pytest.raises(BadInput, match=message):
        export_data.fetch(source)


def test_results_are_long_and_tidy(folder):
    """One row per (dataset, model, norm, batching, lr, seed, epoch, metric)."""
    table = pd.read_parquet(folder / "results")
    assert table.columns.tolist() == [*collect.ORDER, "value", "batch_order"]
    assert not table.duplicated(collect.ORDER).any()
    assert set(table["epoch"]) == {0, 1, 2}
    runs = table[["norm", "batching", "lr", "seed"]].drop_duplicates().values.tolist()
    assert runs == [["ln", "label", 0.01, 4], ["ln", "label", 0.01, 3], ["ln", "random", 0.01, 3]]


def test_weights_are_named_by_cell_seed_and_epoch(folder):
    tensors, description = read_tensors(folder / "weights")
    label = {f"label-lr0.01/seed{seed}/epoch{epoch:03d}" for seed in (4, 3) for epoch in (0, 1, 2)}
    random = {f"random-lr0.01/seed3/epoch{epoch:03d}" for epoch in (0, 2)}
    assert {name.rsplit("/", 1)[0] for name in tensors} == label | random
    assert tensors["label-lr0.01/seed4/epoch000/1.weight"].shape == (128, 64)
    assert [cell["batching"] for cell in description["cells"]] == ["label", "random"]
    assert description["cells"][0]["optimizer"] == CELL["optimizer"]


def test_each_cell_of_a_job_is_trained_as_if_alone(folder, digits):
    """And its weights are read back as its own."""
    cell = Cell.from_settings({**CELL, "batching": "random", "seeds": [3], "snapshots": []})
    alone = training.train(cell, 3, digits).weights
    kept = [*kept_weights(folder / "weights")]
    assert [(row["batching"], row["seed"], row["epoch"]) for row, *_ in kept] == [
        *[("label", seed, epoch) for seed in (3, 4) for epoch in (0, 1, 2)],
        *[("random", 3, epoch) for epoch in (0, 2)],
    ]
    for row, found, weights in kept[-2:]:
        assert found == cell
        assert weights.keys() == alone[row["epoch"]].keys()
        assert all(torch.equal(weights[name], alone[row["epoch"]][name]) for name in weights)


def test_the_listing_holds_every_file_with_its_networks(folder, tmp_path):
    call(list_weights, networks=[folder / "weights"], flows=[], listing=tmp_path / "listing")
    (entry,) = json.loads((tmp_path / "listing").read_text()).values()
    assert entry["sha256"] == hashes(folder)["weights"]
    assert entry["epochs"] == {
        "label-lr0.01": {"seed3": [0, 1, 2], "seed4": [0, 1, 2]},
        "random-lr0.01": {"seed3": [0, 2]},
    }


@pytest.mark.parametrize("lost", ["random-lr0.01/", "random-lr0.01/seed3/epoch002/", "label"])
def test_weights_that_are_not_there_are_missed(folder, tmp_path, lost):
    tensors, description = read_tensors(folder / "weights")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(lost)}
    (tmp_path / "weights").write_bytes(tensors_bytes(kept, description))
    with pytest.raises(BadInput, match="its settings promise"):
        call(list_weights, networks=[tmp_path / "weights"], flows=[], listing=tmp_path / "l")


def test_a_truncated_data_file_leaves_earlier_results(folder):
    truncated = folder.parent / "truncated"
    truncated.write_bytes((folder / "prepared").read_bytes()[:1000])
    before = hashes(folder)
    names = ("checkpoint", "weights", "results")
    outputs = {name: folder / name for name in names}
    with pytest.raises(BadInput, match=r"truncated \(1000 bytes\) is truncated"):
        call(train, cells=CELLS, prepared=truncated, **outputs)
    assert hashes(folder) == before


def test_cells_are_collected_in_one_order(folder, tmp_path):
    """Whatever the order they are given in; the final metrics are those of the last epoch."""
    other = pd.read_parquet(folder / "results").assign(norm="bn")
    other.to_parquet(tmp_path / "bn")
    for order in ([folder / "results", tmp_path / "bn"], [tmp_path / "bn", folder / "results"]):
        name = order[0].name
        outputs = {"table": tmp_path / f"{name}.t", "metrics": tmp_path / f"{name}.m"}
        call(collect, cells=order, **outputs)
    assert hashes(tmp_path)["bn.t"] == hashes(tmp_path)["results.t"]
    assert hashes(tmp_path)["bn.m"] == hashes(tmp_path)["results.m"]

    table = pd.read_parquet(tmp_path / "bn.t")
    assert len(table) == 2 * len(other)
    last = other[(other["epoch"] == 2) & (other["metric"] == "test.eval.accuracy")]
    last = last[last["batching"] == "label"]["value"]
    metrics = json.loads((tmp_path / "bn.m").read_text())
    found = metrics["digits-head-ln-label-lr0.01"]["test.eval.accuracy"]
    assert found == pytest.approx({"mean": last.mean(), "min": last.min(), "max": last.max()})


def test_a_run_that_comes_twice_is_refused(folder, tmp_path):
    outputs = {"table": tmp_path / "table", "metrics": tmp_path / "metrics"}
    with pytest.raises(BadInput, match=r"two grids hold the same run: .*'norm': 'ln'"):
        call(collect, cells=[folder / "results", folder / "results"], **outputs)
    assert not list(tmp_path.iterdir())


def test_theorem_tables_hold_every_case(tmp_path):
    names = ("passing", "errors", "leak", "metrics")
    call(theorems, settings=THEOREMS, **{name: tmp_path / name for name in names})
    passing, errors, leak = (pd.read_parquet(tmp_path / name) for name in names[:3])
    assert len(passing) == 2 * 2 * 2 * 5  # norms, eps, seeds; a quadratic's three terms, two sums
    assert len(errors) == 2 * 2 * 4
    assert set(errors["theorem"]) == {"T1", "T2", "T3", "T4"}
    assert len(leak) == 2 * 3
    largest = json.loads((tmp_path / "metrics").read_text())["largest_deviation"]
    assert largest == errors.groupby("theorem")["error"].max().to_dict()
