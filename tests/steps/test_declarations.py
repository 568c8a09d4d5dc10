"""Experiments are found by their declarations; one that lacks a part is refused by its name."""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bnblind.errors import BadInput
from bnblind.pipeline import discovery
from bnblind.pipeline.configuration.check import DATASETS_SCHEMA, check_config, config_schema
from bnblind.pipeline.configuration.claims_file import SCHEMA as CLAIMS_SCHEMA
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.declaration import Experiment
from bnblind.pipeline.discovery import experiments, judged_tables
from bnblind.pipeline.paths import Paths
from tests.conftest import ROOT

SPREAD = """
from bnblind.pipeline.configuration import keys
from bnblind.pipeline.declaration import Computing, Experiment, Page, Training

EXPERIMENT = Experiment(
    name="spread",
    title="How far labels lie apart",
    order=5,
    section=keys.mapping("how to measure it", {"least": keys.integer("least distance")}),
    tables={"table": "spread", "points": "spread/points"},
    computing=Computing("measure_spread"),
    page=Page(
        figures={"distances": "distances"},
        captions={"distances": "by seed."},
        drawn=lambda config: [("distances", {})],
        sentence="Distances grow.",
    ),
)
"""
"""What somebody declares; in the tests' package there is no other experiment."""

Declare = Callable[..., None]
Experiments = dict[str, Experiment]


@pytest.fixture(scope="module")
def real() -> Experiments:
    """The experiments of this project."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(ROOT)
        return experiments()


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Declare]:
    """Write declarations, by their experiment's name, with a notebook and a step of each; in a
    project of its own, whose code is not this one's.
    """
    package = tmp_path / "declared_by_test"
    for folder in (package, tmp_path / "notebooks", tmp_path / "steps"):
        folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(discovery, "PACKAGE", package.name)
    monkeypatch.setattr(discovery, "FOLDER", Path(package.name))
    monkeypatch.setattr(discovery, "STEPS", Path("steps"))
    monkeypatch.setattr(discovery, "KINDS", ROOT / "src/bnblind/experiments")

    def write(**texts: str) -> None:
        for name, text in {"__init__": "", **texts}.items():
            (package / f"{name}.py").write_text(text)
            (tmp_path / f"notebooks/{name}.ipynb").touch()
            (tmp_path / f"steps/measure_{name}.py").touch()

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == package.name]:
        del sys.modules[name]


def test_experiments_are_found_and_put_in_order(declare: Declare) -> None:
    other = SPREAD.replace('"spread"', '"after"').replace("order=5", "order=7")
    declare(after=other, spread=SPREAD, before=other.replace("after", "before").replace("7", "3"))
    found = experiments()
    assert list(found) == ["before", "spread", "after"]
    assert all(experiment.name == name for name, experiment in found.items())
    assert set(judged_tables(found.values())) == {"before", "spread", "spread/points", "after"}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('    title="How far labels lie apart",\n', "", "'title'"),
        ("    order=5,\n", "", "'order'"),
        ("order=5", "order=5, colour=3", "'colour'"),
        ("EXPERIMENT", "DECLARED", "no attribute 'EXPERIMENT'"),
        (
            "EXPERIMENT = Experiment(",
            "EXPERIMENT = dict(",
            "EXPERIMENT is a dict; allowed: an Experiment",
        ),
        ('name="spread"', 'name="spred"', "is called 'spred' in spread.py; allowed: 'spread'"),
        (
            'captions={"distances": "by seed."}',
            'captions={"x": "by seed."}',
            "has captions of x; allowed: of distances",
        ),
        (
            'section=keys.mapping("how to measure it", {"least": keys.integer("least distance")}),',
            "",
            "has tables without a `section`",
        ),
        (
            '    tables={"table": "spread", "points": "spread/points"},\n',
            "",
            "has `tables`, `training` or `computing` alone",
        ),
        (
            '    computing=Computing("measure_spread"),\n',
            "",
            "has `tables`, `training` or `computing` alone",
        ),
        (
            '"measure_spread"',
            '"measure_sprd"',
            "is computed by the step measure_sprd, and there is no steps/measure_sprd.py",
        ),
        (
            "spread/points",
            "spread/{grid}-points",
            "has of_networks=False and the table spread/{grid}-points; allowed: without {grid}",
        ),
    ],
)
def test_a_declaration_that_lacks_a_part_is_refused(
    old: str, new: str, found: str, declare: Declare
) -> None:
    assert SPREAD.count(old) == 1
    declare(spread=SPREAD.replace(old, new))
    with pytest.raises(BadInput) as caught:
        experiments()
    assert str(caught.value).startswith("experiment spread (declared_by_test/spread.py): ")
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_page_without_its_notebook_is_refused(declare: Declare) -> None:
    declare(spread=SPREAD)
    Path("notebooks/spread.ipynb").unlink()
    with pytest.raises(BadInput, match=r"spread\.py\): has a page but no notebook note"):
        experiments()


def test_training_without_a_section_is_refused(declare: Declare) -> None:
    trains = 'training=Training(kind="networks", grids=lambda config: {}),'
    declare(spread=SPREAD.partition("    section=")[0] + f"    {trains}\n)\n")
    with pytest.raises(BadInput, match=r"experiment spread .*: has tables without a `section`"):
        experiments()


TRAINS = """
    training=Training(kind="networks", grids=lambda config: {}, keeps=("weights",)),
)
"""


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("", "", ""),
        ('kind="networks"', 'kind="network"', "trains network, and there is no "),
        ('"weights"', '"weight"', r"keeps \['weight'\]; allowed: some of weights, samples"),
        (
            "training=",
            'tables={"table": "spread"},\n    training=',
            "`training` stands beside `tables` or `computing`; allowed: alone",
        ),
    ],
)
def test_training_that_does_not_fit_is_refused(
    old: str, new: str, found: str, declare: Declare
) -> None:
    text = SPREAD.partition("    tables=")[0] + TRAINS
    declare(spread=text.replace(old, new) if old else text)
    if not found:
        assert experiments()["spread"].tables == {"table": "spread"}
        return
    with pytest.raises(BadInput, match=rf"^experiment spread \(.*{found}"):
        experiments()


def test_a_figure_that_is_not_declared_is_refused(declare: Declare) -> None:
    declare(spread=SPREAD.replace('[("distances", {})]', '[("distance", {})]'))
    with pytest.raises(BadInput, match=r"experiment spread: draws distance with .*'distance' in"):
        experiments()["spread"].stems({})


def test_one_table_under_two_options_is_refused(declare: Declare) -> None:
    declare(spread=SPREAD.replace('"spread/points"', '"spread"'))
    with pytest.raises(BadInput, match="has one table under two options"):
        experiments()


def test_a_section_cannot_take_a_key_that_every_profile_has(published: dict[str, Any]) -> None:
    section = {"type": "object"}
    data = Experiment(name="data", title="t", order=1, section=section, tables={"table": "data"})
    with pytest.raises(BadInput, match="experiment data: the key 'data' of a profile"):
        check_config(published, [data])


def test_an_experiment_of_nothing_is_refused(declare: Declare) -> None:
    declare(spread=SPREAD.partition("    section=")[0] + ")\n")
    with pytest.raises(BadInput, match=r"experiment spread .*: has neither `tables` nor a `page`"):
        experiments()


def test_all_that_is_lacking_is_said_at_once(declare: Declare) -> None:
    text = SPREAD.replace('name="spread"', 'name="x"').replace('{"distances": "by seed."}', "{}")
    declare(spread=text)
    with pytest.raises(BadInput, match=r"is called 'x'.*\n.* has captions of ; allowed: of dist"):
        experiments()


def test_a_section_may_be_left_out_and_is_checked_as_soon_as_it_is_declared(
    declare: Declare, published: dict[str, Any], monkeypatch: pytest.MonkeyPatch, real: Experiments
) -> None:
    declare(spread=SPREAD)
    spread = experiments()["spread"]
    monkeypatch.chdir(ROOT)  # where the schema lies
    both = [*real.values(), spread]
    check_config(published, both)
    assert not spread.runs_in(published)
    with pytest.raises(BadInput, match=r"spread\.least: 0 is less than the minimum of 1"):
        check_config(published | {"spread": {"least": 0}}, both)
    check_config(published | {"spread": {"least": 1}}, both)
    with pytest.raises(BadInput, match="unknown key 'spread'; allowed: profile"):
        check_config(published | {"spread": {"least": 1}}, real.values())


def test_a_table_of_each_grid() -> None:
    tables = {"terms": "spread/{grid}-terms", "all": "spread/all"}
    spread = Experiment(name="spread", title="t", order=1, tables=tables)
    config = {"spread": {"a": {}, "b-2": {}}}
    both = ["spread/a-terms", "spread/b-2-terms"]
    assert spread.of_config(tables.values(), config) == [*both, "spread/all"]


def test_a_notebook_gets_its_experiments_tables_by_their_options(declare: Declare) -> None:
    declare(spread=SPREAD)
    spread = experiments()["spread"]
    paths = Paths("runs/x")
    assert spread.page_inputs({"spread": {"least": 1}}, paths) == {
        "table": "runs/x/data/results/spread.parquet",
        "points": "runs/x/data/results/spread/points.parquet",
    }
    by_grid = dataclasses.replace(spread, tables={"table": "spread/{grid}"})
    assert by_grid.page_inputs({"spread": {"a": {}, "b": {}}}, paths) == {
        "table": {grid: f"runs/x/data/results/spread/{grid}.parquet" for grid in ("a", "b")}
    }


def described(schema: dict[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a schema that holds a value, not further keys, and what is said of it."""
    keys = schema.get("properties", {})
    if isinstance(inner := schema.get("additionalProperties"), dict):
        keys = {**keys, schema["title"]: inner}
    for key, of in keys.items():
        if "properties" in of or isinstance(of.get("additionalProperties"), dict):
            yield from described(of, f"{place}{key}.")
        else:
            yield f"{place}{key}", of.get("description", "")


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("profile", "flows.GRID.optimizer.betas"),
        ("claims", "CLAIM.rows.ROW.at_most"),
        ("datasets", "NAME.files.FILE.sha256"),
    ],
)
def test_every_key_of_a_schema_says_what_it_means(
    name: str, example: str, real: Experiments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    schemas = {
        "profile": config_schema(real.values()),
        "claims": read_yaml(CLAIMS_SCHEMA),
        "datasets": {"title": "NAME", **read_yaml(DATASETS_SCHEMA)},
    }
    found = dict(described(schemas[name]))
    assert example in found
    assert [key for key, said in found.items() if not said.strip()] == []


def test_every_experiment_says_what_its_section_is_for(real: Experiments) -> None:
    for experiment in real.values():
        assert experiment.title
        if section := experiment.section:
            grids = section["additionalProperties"]
            assert (grids or section)["description"], experiment.name
