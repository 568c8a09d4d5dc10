"""``bnblind probe``: the table, the page, and every refusal on one line."""

import itertools
import math
import sys
import tomllib
from argparse import Namespace
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder

import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from torch import nn

from bnblind.__main__ import main
from bnblind.figures.style import COLUMN, use_style
from bnblind.probe_figures import SHARES, bars
from bnblind.review.probe_command import measure
from tests.conftest import ROOT

MINE = """
import torch
from torch import nn

def network():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 10),
    )

def normless():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def failing():
    raise KeyError("no\\nluck")

def batches():
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        yield torch.randn(40, 1, 8, 8, generator=generator), torch.arange(40) % 4

listed = list(batches())
endless = iter(lambda: tuple(part[:39] for part in listed[0]), None)
number = 3

def images():
    yield torch.zeros(2, 1, 8, 8)

def unequal():
    yield torch.zeros(2, 1, 8, 8), torch.zeros(3, dtype=torch.long)

def one_hot():
    yield torch.zeros(2, 1, 8, 8), torch.eye(2)

def beyond():
    yield torch.randn(8, 1, 8, 8), torch.arange(8) + 5

def negative():
    yield torch.randn(8, 1, 8, 8), torch.arange(8) - 1

def differing():
    yield torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.long)
    yield torch.zeros(2, 1, 9, 9), torch.zeros(2, dtype=torch.long)

def unknown():
    yield torch.full((2, 1, 8, 8), float("nan")), torch.zeros(2, dtype=torch.long)

def half():
    yield torch.randn(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)
    yield torch.full((4, 1, 8, 8), float("nan")), torch.ones(4, dtype=torch.long)

def single():
    return nn.BatchNorm2d(1)

def tuples():
    class Pair(nn.BatchNorm2d):
        def forward(self, x):
            return x, x
    return Pair(1)

def fewer():
    class Fewer(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x).flatten(1)[1:]
    return Fewer(1)
"""


@dataclass
class Ended:
    """What a command printed, and the code it exited with; a text is printed, and means 1."""

    code: int | str
    out: str
    err: str


@pytest.fixture
def probe(tmp_path, monkeypatch, capsys):
    """Call ``bnblind probe`` where the module ``mine`` lies; further options by name."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*args, **options):
        try:
            main(["probe", *command_line(**options), *args])
            code = 0
        except SystemExit as end:
            code = end.code
        return Ended(code, *capsys.readouterr())

    yield run
    sys.modules.pop("mine", None)


def command_line(**options):
    given = {"model": "mine:network", "data": "digits", "batching": "label"} | options
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


def rows(run):
    """The printed table: layer -> its cells by column."""
    assert run.code == 0, run
    lines = run.out.partition("\n\n")[0].splitlines()
    header, *body = (line.split() for line in lines)
    return {cells[0]: dict(zip(header, cells, strict=True)) for cells in body}


def test_the_table_of_label_pure_and_of_random_batches(probe):
    pure, mixed = probe(), probe(batching="random")
    for run, words in ((pure, "10 label-pure batches"), (mixed, "10 random batches")):
        table = rows(run)
        assert list(table) == ["2", "6"]
        assert [row["channels"] for row in table.values()] == ["16", "8"]
        assert [row["pooled"] for row in table.values()] == ["64", "64"]
        for row in table.values():
            shares = [float(row[name]) for name in SHARES]
            assert sum(shares) == pytest.approx(1, abs=2e-3)
        (line,) = run.out.strip().partition("\n\n")[2].splitlines()
        assert f"Measured on {words} of up to 64 samples of digits" in line
    assert float(rows(pure)["6"]["mean_share"]) > 0.5 > float(rows(mixed)["6"]["mean_share"])


@pytest.mark.parametrize(
    ("batching", "words"),
    [
        ("label_shuffled", "3 label-pure batches, classes in random order, of up to 64 samples"),
        ("purity-0.9", "3 batches of purity-0.9 of up to 64 samples"),
    ],
)
def test_the_experiments_other_batchings(probe, batching, words):
    run = probe(batching=batching, batches=3)
    assert list(rows(run)) == ["2", "6"]
    assert words in run.out


def test_the_same_seed_gives_the_same_output(probe):
    options = {"batching": "random", "batch-size": 32, "batches": 2}
    first, again, other = (probe(seed=seed, **options).out for seed in (1, 1, 2))
    assert first == again
    assert first.replace("seed 1", "seed 2") != other
    assert "2 random batches of up to 32 samples" in first


def test_the_seed_also_draws_the_batches():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4))
    x, target = torch.randn(60, 6, generator=generator), torch.arange(60) % 4
    options = {"batching": "random", "batch_size": 8, "batches": 2}
    tables = [measure(model, x, target, Namespace(seed=s, **options))[0] for s in (1, 1, 2)]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


@pytest.mark.parametrize("data", ["mine:batches", "mine:listed"])
def test_the_users_batches_are_cut_again(probe, data):
    """200 samples of 4 classes: 50 of each, so 4 label-pure batches, not the given ones."""
    run = probe(data=data)
    assert rows(run)["2"]["pooled"] == "50"
    assert "4 label-pure batches" in run.out


def test_endless_data_are_read_up_to_a_limit(probe):
    run = probe(data="mine:endless", **{"batch-size": 5000})
    # 256 times 39 samples and 16 more: of the last class 256 times 9 and 4 more.
    assert rows(run)["2"]["pooled"] == "2308"


def test_a_batch_that_is_not_finite_is_counted_apart(probe):
    layers = rows(probe(data="mine:half"))
    assert {(row["found"], row["not_finite"]) for row in layers.values()} == {("measured", "1")}


def test_a_model_of_torchvision(probe):
    table = rows(probe(model="torchvision:shufflenet_v2_x0_5", batches=1))
    assert list(table)[:2] == ["conv1.1", "stage2.0.branch1.1"]


def test_the_page_holds_the_table_and_the_figure(probe, tmp_path):
    run, again = (probe(html=tmp_path / "new" / name) for name in ("a.html", "b.html"))
    page = (tmp_path / "new/a.html").read_text()
    for row in rows(run).values():
        assert all(f"<td>{cell}</td>" in page for cell in row.values())
    assert "data:image/svg+xml;base64," in page
    assert "http" not in page.replace("http-equiv", "")
    assert "10 label-pure batches" in page
    assert run.out.endswith(f"\npage: {tmp_path}/new/a.html\n")
    assert again.out == run.out.replace("a.html", "b.html")
    assert (tmp_path / "new/b.html").read_text() == page


REFUSED = {
    "form of the model": ({"model": "mine"}, "--model must be package.module:factory or torchv"),
    "no module": ({"model": "yours:f"}, "--model yours:f: cannot import yours: ModuleNotFound"),
    "no factory": ({"model": "mine:f"}, "unknown name in mine 'f'; allowed: torch, nn, network"),
    "failing factory": ({"model": "mine:failing"}, "calling it raised KeyError: 'no\\nluck'"),
    "no factory at all": ({"model": "mine:number"}, "raised TypeError: 'int' object is not"),
    "no module made": ({"model": "mine:batches"}, "return a torch.nn.Module; found generator"),
    "torchvision": ({"model": "torchvision:res"}, "torchvision model 'res'; allowed: alexnet, "),
    "normless": ({"model": "mine:normless"}, "found none in Sequential; allowed: BatchNorm1d"),
    "form of the data": ({"data": "letters"}, "--data must be digits or package.module:batches"),
    "not iterable": ({"data": "mine:number"}, "reading it raised TypeError: 'int' object is not"),
    "no pairs": ({"data": "mine:images"}, "pairs of tensors (x, target); found Tensor"),
    "unequal": ({"data": "mine:unequal"}, "x of shape (2, 1, 8, 8) and target of torch.int64, "),
    "one-hot": ({"data": "mine:one_hot"}, "found x of shape (2, 1, 8, 8) and target of torch.flo"),
    "differing": ({"data": "mine:differing"}, "--data mine:differing: reading it raised Runtime"),
    "beyond": (
        {"data": "mine:beyond", "batching": "random"},
        "target out of range: found classes from 5 to 12; allowed: 0 to 9",
    ),
    "negative": (
        {"data": "mine:negative", "batching": "random"},
        "found classes from -1 to 6; allowed: 0 to 9",
    ),
    "batching": ({"batching": "randomly"}, "unknown batching 'randomly'; allowed: random, label"),
    "batch size": ({"batch-size": 1}, "batch_size must be >= 2, to take batch statistics; found 1"),
    "no batches": ({"batches": 0}, "--batches must be >= 1; found 0"),
    "shape": ({"model": "mine:single"}, "must be of shape (64, classes) for a batch of 64 samples"),
    "tuple": ({"model": "mine:tuples"}, "must be of shape (64, classes) for a batch of 64 samples"),
    "rows": ({"model": "mine:fewer"}, "for a batch of 64 samples; found shape (63, 64)"),
    "input": ({"model": "torchvision:resnet18", "data": "mine:batches"}, "raised on a batch of"),
    "nan": ({"data": "mine:unknown"}, "no batch gave finite gradients"),
    "folder as page": ({"html": ".", "batches": 1}, ": Is a directory"),
    "no folder": ({"html": "mine.py/page.html", "batches": 1}, "page.html.partial: Not a dir"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_names_what_was_found_and_what_is_allowed(probe, case):
    """On one line, and nothing else is printed."""
    options, message = REFUSED[case]
    run = probe(**options)
    assert message in str(run.code)
    assert run.code.startswith("error: ")
    assert "\n" not in run.code
    assert (run.out if "html" not in options else "", run.err) == ("", "")


class NoSklearn(MetaPathFinder):
    """Finds what an installation without scikit-learn would."""

    def find_spec(self, name, path=None, target=None):
        if name == "sklearn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_missing_package_is_named(probe, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoSklearn(), *sys.meta_path])
    run = probe(data="digits")
    assert run.code.startswith("error: needs sklearn, which is not installed")
    assert "pip install '.[probe]'" in run.code


STARTED = """
import os, runpy, sys

def bnblind(*words):
    sys.argv[1:] = words
    runpy.run_module("bnblind", run_name="__main__", alter_sys=True)

folder, *words = sys.argv[1:]
os.chdir(folder)
try:
    bnblind("probe", "--help")
except SystemExit as end:
    assert not end.code
assert not {"torch", "numpy", "pandas", "matplotlib"} & set(sys.modules)
print("=" * 9)
bnblind("probe", *words)
bnblind("probe", *words, "--model", "mine:normless")
"""


def test_in_an_interpreter_of_its_own(probe, run_python, tmp_path):
    """Help comes without torch; the table is the one that this process gives, to the last digit;
    a refusal is one line on stderr and exit 1.
    """
    options = command_line(batching="random", batches=2)
    run = run_python("-c", STARTED, tmp_path, *options, OMP_NUM_THREADS="1")
    help_text, _, table = run.stdout.partition("=" * 9 + "\n")
    assert "--batching label|label_shuffled|random|purity-P" in help_text
    assert table == probe(batching="random", batches=2).out
    assert run.returncode == 1
    assert run.stderr.startswith("error: BlindnessProbe needs a model with batch norm")
    assert run.stderr.count("\n") == 1


def test_the_command_is_installed_by_its_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["scripts"]["bnblind"].partition(":")
    assert getattr(import_module(module), name) is main


@pytest.mark.parametrize("count", [2, 60])
def test_the_bars_are_the_tables_shares_in_its_order(count):
    use_style()
    table = pd.DataFrame(
        {
            "layer": [f"features.{i}" for i in range(count)],
            "mean_share": 0.5,
            "scale_share": [i / (2 * count) for i in range(count)],
        }
    )
    table["passing"] = 0.5 - table["scale_share"]
    table.loc[1, list(SHARES)] = float("nan")
    table["found"] = ["gradient 0" if i == 1 else "measured" for i in range(count)]
    figure = bars(table)
    (axes,) = figure.axes
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == table["layer"].tolist()
    for name, drawn in zip(SHARES, axes.containers, strict=True):
        widths = [bar.get_width() for bar in drawn]
        assert widths == pytest.approx(table[name].tolist(), nan_ok=True)
    ends = [bar.get_x() + bar.get_width() for bar in axes.containers[-1]]
    assert ends == pytest.approx([math.nan if i == 1 else 1.0 for i in range(count)], nan_ok=True)
    assert [text.get_text() for text in axes.texts] == ["gradient 0"]
    assert figure.get_figwidth() <= 2 * COLUMN
    assert figure.get_figheight() / count > 0.15  # inches a layer: room for its name


def test_the_parts_are_apart_without_colour():
    weights = (0.2126, 0.7152, 0.0722)
    light = sorted(
        sum(w * c for w, c in zip(weights, to_rgb(color), strict=True))
        for _, color in SHARES.values()
    )
    assert min(b - a for a, b in itertools.pairwise(light)) > 0.15
