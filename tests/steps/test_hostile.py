"""Hostile and odd input: only the project's own errors escape, nothing is written, nothing runs."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bnblind import BadInput
from bnblind.pipeline.artifacts import artifacts
from bnblind.pipeline.checkpoint import Checkpoint
from bnblind.pipeline.configuration.check import DATASETS_SCHEMA, check_config, config_schema
from bnblind.pipeline.configuration.claims_file import CLAIMS, SCHEMA, read_claims
from bnblind.pipeline.configuration.schema import datasets, read_yaml, violations
from bnblind.pipeline.discovery import experiments, judged_tables
from bnblind.pipeline.formats.ledger import read_ledger
from bnblind.pipeline.formats.seal import read_sealed_json, sealed_json
from bnblind.pipeline.formats.tables import read_table, table_bytes
from bnblind.pipeline.formats.tensors import read_tensors, tensors_bytes
from bnblind.review.comparison import apart, compared, flips
from bnblind.review.runs import Run, read_receipt, read_record, run_of_receipt
from tests.conftest import ROOT

COMMAND = "$(touch PWNED)"
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            *(COMMAND, f"../../x{COMMAND}.gz", "smoke\n", "`touch PWNED`", "; touch PWNED", "a\0b"),
            *(
                "<script>alert(1)</script>",
                "../..",
                "/etc/passwd",
                "x" * 5000,
                "{wildcards}",
                "nan",
            ),
        ]
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.dates())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)
"""What YAML can hold."""

fuzzed = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def nothing_is_written_or_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a folder with links to what is read, so that a file or a command's trace would show."""
    for name in ("config", "workflow", "src", "notebooks", "proofs", "receipts", "published"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    yield
    found = {path.name for path in tmp_path.iterdir()}
    assert found - before <= {"fuzzed", "sealed"}


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of every value inside: the keys that lead to it."""
    yield place
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in inner:
            yield from places(item, (*place, key))


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at that place."""
    if not place:
        return new
    changed = copy.deepcopy(value)
    target = changed
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = new
    return changed


def renamed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy with another key at that place, if a mapping's key is there."""
    if not place or isinstance(place[-1], int):
        return replaced(value, place, new)
    changed = copy.deepcopy(value)
    target = changed
    for key in place[:-1]:
        target = target[key]
    target[new] = target.pop(place[-1])
    return changed


QUICK = read_yaml(ROOT / "config/config.yaml")
DATASETS = read_yaml(ROOT / "config/datasets.yaml")
DIGITS = DATASETS["digits"]["files"]["digits.csv.gz"]
ROWS = {
    name: claim | {"rows": dict(list(claim["rows"].items())[:2])}
    for name, claim in read_yaml(ROOT / CLAIMS).items()
}
"""Two rows of each claim; more take longer and are of the same kinds."""


def mistakes(value: Any) -> st.SearchStrategy[Any]:
    """Copies with one value or one key replaced by anything."""
    where = st.sampled_from([*places(value)])
    return st.one_of(
        st.builds(lambda place, new: replaced(value, place, new), where, VALUES),
        st.builds(lambda place, new: renamed(value, place, new), where, SCALARS),
    )


@fuzzed
@given(mistakes(QUICK))
@example(QUICK | {"profile": "smoke\n", "root": "runs/smoke"})
def test_a_profile_is_taken_or_refused(config: Any) -> None:
    """One that is taken has a name without a line feed, and writes below its root only."""
    try:
        check_config(config, experiments().values())
    except BadInput:
        return
    made = artifacts(config, experiments().values(), datasets())
    assert "\n" not in config["profile"]
    root = Path(config["root"])
    below = str(root / "data") + "/", str(root / "reports") + "/"
    assert all(artifact.path.startswith(below) for artifact in made)


@fuzzed
@given(mistakes(DATASETS))
@example(replaced(DATASETS, ("digits", "files"), {f"../../x{COMMAND}.gz": DIGITS}))
@example(replaced(DATASETS, ("digits", "files", "digits.csv.gz", "sources"), [f"file:/x{COMMAND}"]))
def test_a_registry_of_data_sets_is_taken_or_refused(registry: Any) -> None:
    """What is taken is one part of a path, and nothing to a shell."""
    if not violations(registry, read_yaml(DATASETS_SCHEMA)):
        for name, entry in registry.items():
            for file, of in entry["files"].items():
                words = "".join([name, file, *of["sources"]])
                assert not {*words} & {*"$`;&|<>()\"' \n\0*?#"}
                assert "/" not in file
                assert not file.startswith(".")


def taken(read: Callable[[Path], Any], content: bytes) -> Any:
    """What is read of a file of that content; None if it is refused by its name."""
    path = Path("fuzzed")
    path.write_bytes(content)
    try:
        return read(path)
    except BadInput as error:
        if str(path) not in str(error):
            raise
        return None


@fuzzed
@given(mistakes(ROWS))
def test_a_claims_file_is_taken_or_refused(claims: Any) -> None:
    kinds = judged_tables(experiments().values())
    read = taken(lambda path: read_claims(kinds, path), yaml.safe_dump(claims).encode())
    rows = [row for claim in (read or {}).values() for row in claim["rows"].values()]
    assert not any(".." in row["figure"] + row["table"] for row in rows)


@fuzzed
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b"[" * 5000)
@example(b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]")
@example(b"? [1]\n: 2")
@example(b"1999-99-99: 9")
def test_any_bytes_are_yaml_or_refused(content: bytes) -> None:
    taken(read_yaml, content)
    taken(lambda path: read_claims([], path), content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
CONTENTS = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())


READERS = [read_ledger, read_record, read_receipt, read_sealed_json, read_table, read_tensors]


@pytest.mark.parametrize("read", READERS)
@fuzzed
@given(content=CONTENTS)
@example(content=b"[" * 100000)
@example(content=b'{"a": 1}')
def test_any_bytes_are_a_file_of_ours_or_refused(
    read: Callable[[Path], Any], content: bytes
) -> None:
    taken(read, content)


@fuzzed
@given(CONTENTS)
def test_any_bytes_are_no_checkpoint(content: bytes) -> None:
    path = Path("fuzzed")
    path.write_bytes(content)
    assert Checkpoint(path, "job").load() is None


@pytest.mark.parametrize("read", [read_table, read_tensors, read_sealed_json])
def test_a_sealed_file_of_another_kind_is_refused(read: Callable[[Path], Any]) -> None:
    """The hash of its bytes is right."""
    contents = {
        read_table: table_bytes(pd.DataFrame({"a": [1]})),
        read_tensors: tensors_bytes({"a": torch.ones(1)}, {}),
        read_sealed_json: sealed_json({"a": 1}),
    }
    for kind, content in contents.items():
        path = Path("sealed")
        path.write_bytes(content)
        if kind is read:
            assert read(path) is not None
        else:
            with pytest.raises(BadInput, match="sealed is not a"):
                read(path)
    path.write_bytes(contents[read_sealed_json])
    assert Checkpoint(path, "job").load() is None


RECEIPT = json.loads(next((ROOT / "receipts").glob("*.json")).read_text())
ORIGINAL = Run(
    {name: file["sha256"] for name, file in RECEIPT["files"].items()}, RECEIPT["rows"], ("fast",)
)
SHORT_RECEIPT = RECEIPT | {
    "files": dict([*RECEIPT["files"].items()][:2]),
    "rows": dict([*RECEIPT["rows"].items()][:2]),
    "jobs": {},
}


@fuzzed
@given(mistakes(SHORT_RECEIPT))
def test_a_receipt_is_taken_or_refused(content: Any) -> None:
    """And what is taken can be compared."""
    text = json.dumps(content, default=str, skipkeys=True)
    if run := taken(run_of_receipt, text.encode()):
        for here, there in ((run, ORIGINAL), (ORIGINAL, run)):
            assert compared(here, there)
            assert flips(here, there) is not None
            assert apart(here, there) is not None


@fuzzed
@given(place=st.integers(min_value=0), mask=st.integers(1, 255))
def test_a_manifest_altered_anywhere_is_refused(place: int, mask: int) -> None:
    content = bytearray(sealed_json({"dataset": "digits", "shape": [1, 8, 8]}))
    content[place % len(content)] ^= mask
    Path("fuzzed").write_bytes(content)
    with pytest.raises(BadInput, match="altered or cut off"):
        read_sealed_json(Path("fuzzed"))


def unconstrained(node: Any, place: str = "") -> Iterator[str]:
    """Where a schema allows a text without a pattern, or a number without two bounds."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from unconstrained(item, f"{place}[{number}]")
    if not isinstance(node, dict):
        return
    types = node.get("type", [])
    types = [types] if isinstance(types, str) else types
    if "string" in types and not {"pattern", "enum"} & set(node):
        yield f"{place}: a text of any kind"
    least, most = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
    if {"integer", "number"} & {*types} and not (least & {*node} and most & {*node}):
        yield f"{place}: a number without bounds"
    for key, item in node.items():
        yield from unconstrained(item, f"{place}.{key}")


def test_every_text_has_a_pattern_and_every_number_bounds() -> None:
    profile = config_schema(experiments().values())
    for name, of in {
        "profile": profile,
        "datasets": read_yaml(DATASETS_SCHEMA),
        "claims": read_yaml(SCHEMA),
    }.items():
        assert [*unconstrained(of, name)] == []
