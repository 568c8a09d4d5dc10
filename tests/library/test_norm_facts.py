"""The facts that norm variants state, against what they do; and what looking them up loads."""

import sys
from dataclasses import asdict
from importlib import import_module

import pytest
import torch
from torch import nn

from bnblind import BadInput, build_norm, norms
from bnblind.norm_facts import norm_facts
from bnblind.norms import freeze_statistics, is_variant, norm_class, norm_names
from bnblind.norms.bn import BatchNorm
from tests.helpers.cases import normal

SHAPE = (8, 6)


def batch(seed):
    return 2 * normal(5, *SHAPE, seed=seed) + 1


def training(name):
    """The layer in training mode; frozen statistics are those of another batch."""
    layer = build_norm(name, SHAPE).double().train()
    freeze_statistics(layer, batch(9))
    return layer


def depends_on_other_entries(name):
    """Whether an output entry changes when all entries of the batch but its own do."""
    x, other = batch(0), batch(1)
    other[0, 0, 0] = x[0, 0, 0]
    one, two = (training(name)(features)[0, 0, 0] for features in (x, other))
    return not torch.equal(one, two)


def depends_on_other_samples(name):
    """Whether a sample's output changes when the other samples of the batch do."""
    x, other = batch(0), batch(1)
    other[0] = x[0]
    return not torch.equal(training(name)(x)[0], training(name)(other)[0])


@pytest.mark.parametrize("name", norm_names())
def test_within_sample_norms_take_statistics_and_none_of_other_samples(name):
    expected = depends_on_other_entries(name) and not depends_on_other_samples(name)
    assert norm_class(name).within_sample is expected


@pytest.mark.parametrize("name", norm_names())
def test_vectors_are_refused_by_norms_that_need_positions(name):
    try:
        build_norm(name, (8,))
        refused = False
    except BadInput:
        refused = True
    assert norm_class(name).needs_positions is refused


@pytest.mark.parametrize("name", norm_names())
def test_norms_that_center_the_batch_give_channels_the_mean_0(name):
    """So do those that center each sample's channels; but their samples are on their own."""
    means = training(name).standardize(batch(0)).mean((0, 2))
    centered = bool(means.abs().max() < 1e-12)
    assert norm_class(name).centers_batch is (centered and depends_on_other_samples(name))


@pytest.mark.parametrize("name", [n for n in norm_names() if dict(training(n).named_parameters())])
def test_an_affine_phase_by_element_has_an_entry_a_feature(name):
    expected = SHAPE if norm_class(name).affine_by_element else SHAPE[:1]
    assert [p.shape for p in (training(name).weight, training(name).bias)] == [expected] * 2


def gradient(name, x, G):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(training(name).standardize(x), x, G)[0]


@pytest.mark.parametrize("name", norm_names())
def test_a_norm_couples_the_batch_in_its_output_or_its_gradient(name):
    x, G, other = batch(0), normal(5, *SHAPE, seed=2), normal(5, *SHAPE, seed=3)
    other[0] = G[0]
    moved = not torch.equal(gradient(name, x, G)[0], gradient(name, x, other)[0])
    expected = moved or (depends_on_other_samples(name))
    assert norm_class(name).couples_batch is expected


@pytest.mark.parametrize("name", norm_names())
def test_the_facts_in_the_text_are_the_classes(name):
    for fact, value in asdict(norm_facts()[name]).items():
        assert getattr(norm_class(name), fact) is value, fact


def test_facts_and_classes_have_the_same_names():
    assert list(norm_facts()) == norm_names()


def test_a_variant_is_told_from_its_subclasses_and_torchs_layers():
    class Louder(BatchNorm):
        pass

    assert all(is_variant(build_norm(name, SHAPE)) for name in norm_names())
    assert not is_variant(Louder(SHAPE))
    assert not is_variant(nn.BatchNorm1d(8))


@pytest.mark.parametrize("name", ["base", "in_", "__init__"])
def test_files_of_the_package_are_no_names(name):
    with pytest.raises(BadInput, match=f"unknown norm '{name}'"):
        norm_class(name)


def test_a_file_with_several_norms_is_refused(monkeypatch):
    monkeypatch.setattr(norms, "import_module", lambda name: norms)
    with pytest.raises(
        LookupError, match=r"norms.__init__\.py must define one subclass of Norm; found Nor"
    ):
        norm_class("ln")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("within_sample = 1 > 0", "within_sample is 1 > 0; allowed: True or False"),
        ("control: bool", "control is nothing; allowed: True or False"),
        ("control = None", "control is None; allowed: True or False"),
        ("control: bool = True", ""),
    ],
)
def test_a_fact_that_is_no_literal_is_refused(line, found, tmp_path, monkeypatch):
    monkeypatch.setattr("bnblind.norm_facts.FOLDER", tmp_path)
    (tmp_path / "peak.py").write_text(f"class Peak(Norm):\n    {line}\n")
    if not found:
        assert norm_facts()["peak"].control
        return
    with pytest.raises(BadInput, match=rf"peak\.py: {found}"):
        norm_facts()


def test_reading_the_facts_imports_no_torch(run_python):
    program = """
import sys
from bnblind.norm_facts import norm_facts
assert norm_facts()["in"].needs_positions
print(sorted(name for name in sys.modules if name.split(".")[0] in ("torch", "numpy", "bnblind")))
"""
    run = run_python("-c", program)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "['bnblind', 'bnblind.errors', 'bnblind.norm_facts']\n"


@pytest.fixture
def unloaded():
    """As if nothing of the package were loaded yet; afterwards all is as before."""

    def take():
        return {n: sys.modules.pop(n) for n in [*sys.modules] if n.split(".")[0] == "bnblind"}

    before = take()
    yield
    take()
    sys.modules.update(before)


def test_a_variant_loads_no_other(unloaded):
    norms = import_module("bnblind.norms")
    assert "ln" in norms.norm_names()
    norms.build_norm("ln", (4,))
    loaded = sorted(name for name in sys.modules if name.startswith("bnblind.norms."))
    assert loaded == ["bnblind.norms.ln"]
