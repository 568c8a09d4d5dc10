"""What git holds of the published run and of other machines: it is of the same bytes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from bnblind.pipeline.configuration.claims_file import STATISTICS, read_claims
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.discovery import experiments, judged_tables
from bnblind.pipeline.formats.tables import read_table
from bnblind.pipeline.ledger import NO_NUMBER
from bnblind.pipeline.measurement import measure
from bnblind.pipeline.paths import Paths
from bnblind.review import runs
from bnblind.review.verify import ledger_problems
from tests.conftest import ROOT


def folder_hash(record: dict[str, Any], folder: str) -> str:
    """The hash that DVC gives a folder: of a list of its files and their md5."""
    listed = [
        {"md5": entry["md5"], "relpath": path.removeprefix(f"{folder}/")}
        for path, entry in record.items()
        if path.startswith(f"{folder}/")
    ]
    text = json.dumps(sorted(listed, key=lambda entry: entry["relpath"]), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def test_the_published_ledger_is_what_its_tables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `bnblind verify` asks of a finished run, whose seeds judge."""
    monkeypatch.chdir(ROOT)
    assert ledger_problems(Path("published/quick")) == []


RECEIPTS = sorted((ROOT / "receipts").glob("*.json"))


@pytest.mark.parametrize("path", RECEIPTS, ids=lambda path: path.stem)
def test_a_collected_receipt_is_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    profile = runs.read_receipt(path)["profile"]
    assert (ROOT / runs.record_of(profile)).is_file()


def test_the_record_is_of_the_files_that_dvc_published() -> None:
    record = runs.read_record(ROOT / runs.record_of("quick"))
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())
    outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
    for out in outs:
        path = out["path"]
        found = record[path]["md5"] if path in record else folder_hash(record, path)
        assert found == out["md5"], path
    assert all(any(p == o["path"] or p.startswith(f"{o['path']}/") for o in outs) for p in record)


def test_the_published_numbers_are_those_of_the_record() -> None:
    record = runs.read_record(ROOT / runs.record_of("quick"))
    folder = ROOT / runs.numbers_of("quick")
    numbers = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    assert {name for name in record if name.endswith(".csv")} <= {*numbers}
    assert "reports/claims.json" in numbers
    assert numbers.pop("machine.json").is_file()
    assert json.loads(numbers.pop("jobs.json").read_bytes())["theorems"]["cpu_seconds"] > 0
    assert json.loads(numbers.pop("settings.json").read_bytes())["profile"]["profile"] == "quick"
    for name, path in numbers.items():
        assert runs.hashes_of(path) == record[name], name


def test_no_flow_reached_the_cap_on_its_epochs() -> None:
    """All end by the same rule: validation no longer improves."""
    table = published_table("flows")
    assert table is not None
    caps = {grid["epochs"] for grid in read_yaml(ROOT / "config/config.yaml")["flows"].values()}
    assert table["epoch"].max() < min(caps)


FIXED = {
    *("dataset", "model", "lr", "init", "split", "weight_decay"),
    *("pair", "coupling", "coupling_norm"),
}
"""Conditions that a figure's name may state, or that are its network's default."""
CALLED = {"test.eval.accuracy": "test accuracy"}
"""Metrics that the purity figure's numbers call otherwise."""


def published_table(name: str) -> pd.DataFrame | None:
    """With what a profile with a page of its own has published."""
    places = [Paths(".", beside=own).table(name) for own in ("", "images")]
    paths = [ROOT / runs.numbers_of("quick") / place for place in places]
    found = [read_table(path) for path in paths if path.is_file()]
    return pd.concat(found, ignore_index=True) if found else None


def sides(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The row's selections, each as a row of its own: what it selects, and that one's mean."""
    kind = next(kind for kind in STATISTICS if row.get(kind) is not None)
    found = [row] if kind != "difference" else []
    for side in ("of", "minus") if kind == "difference" else ():
        several = row[side] if isinstance(row[side], list) else [row[side]]
        found += [{**row, "difference": None, "mean": row[kind], "of": one} for one in several]
    return found


def shown_in(numbers: pd.DataFrame, row: dict[str, Any]) -> pd.Series | None:
    """What a figure's numbers say of just this selection; None if they do not tell it apart."""
    conditions = {**row["where"], **row.get("of", {})}
    metric = conditions.pop("metric", None)
    if metric is not None and "statistics" in numbers:
        numbers = numbers[numbers["statistics"] == metric.split(".")[1]]
    elif metric is not None and "metric" in numbers:
        numbers = numbers[numbers["metric"] == metric]
    elif metric is not None and "quantity" in numbers:
        numbers = numbers[numbers["quantity"] == CALLED.get(metric, metric)]
    for name, wanted in conditions.items():
        if name in ("seed", "kinks") or isinstance(wanted, dict) or wanted == "last":
            continue
        if name == "epoch" and "when" in numbers:
            name, wanted = "when", "before training"
        if name in numbers:
            numbers = numbers[numbers[name].astype(str) == str(wanted)]
        elif name not in FIXED:
            return None
    if conditions.get("epoch") == "last" and {"network", "epoch"} <= {*numbers}:
        ends = numbers.groupby("network")["epoch"].transform("max")
        numbers = numbers[numbers["epoch"] == ends]
    kind = next(kind for kind in STATISTICS if row.get(kind) is not None)
    drawn = row[kind]
    if row["table"] == "theorems/passing":
        return numbers[["median", "min", "max"]].stack()
    if row["table"].endswith("-blocked") or row["table"].endswith("-terms"):
        whole = {"passing.first": "passing"}
        return numbers[whole.get(drawn, drawn)]
    return numbers.get(drawn)


def lies_on_kinks(row: dict[str, Any], table: pd.DataFrame | None) -> bool:
    """Whether all that the row would select was measured on a kink."""
    if table is None or "kinks" not in row["where"]:
        return False
    for name, wanted in row["where"].items():
        if name not in ("kinks", "seed"):
            table = table[table[name] == wanted]
    return len(table) > 0 and bool((table["kinks"] > 0).all())


def test_the_figure_of_every_row_shows_that_very_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the row selects is drawn there, of the same seeds where it has them, around the value
    that the row was judged by.
    """
    monkeypatch.chdir(ROOT)
    claims = read_claims(judged_tables(experiments().values()))
    missing, shown, unjudged = [], 0, []
    verdicts = json.loads((ROOT / runs.numbers_of("quick") / "reports/claims.json").read_text())
    not_run = {row["id"] for row in verdicts if row["verdict"] == NO_NUMBER}
    for name, claim in claims.items():
        for part, row in claim["rows"].items():
            table = published_table(row["table"])
            if f"{name}.{part}" in not_run:
                unjudged += [] if lies_on_kinks(row, table) else [row["figure"]]
                continue
            path = ROOT / runs.numbers_of("quick") / Paths(".").figure(row["figure"])[-1]
            numbers = pd.read_csv(path, dtype={"layer": str}) if path.is_file() else None
            for side in sides(row):
                found = None if table is None else measure(side, table)
                if found is None or numbers is None:
                    missing.append(f"{name}.{part}: {'no number' if found is None else path}")
                    continue
                if "seed" in numbers and not {*found.seeds} <= {*numbers["seed"]}:
                    missing.append(f"{name}.{part}: other seeds in {row['figure']}")
                drawn = shown_in(numbers, side)
                slack = max(0.02, 0.1 * abs(found.value)) if abs(found.value) > 1e-6 else 1e-6
                if drawn is None or not len(drawn):
                    missing.append(f"{name}.{part}: not in {row['figure']}")
                elif not drawn.min() - slack <= found.value <= drawn.max() + slack:
                    missing.append(
                        f"{name}.{part}: {found.value:.3g}, drawn {drawn.min():.3g} to "
                        f"{drawn.max():.3g} in {row['figure']}"
                    )
                else:
                    shown += 1
    assert not missing, "\n".join(missing)
    # Rows stand here before their profile is run; on a kink there is no derivative to judge.
    waiting = {"images"} - {*read_yaml(ROOT / "config/config.yaml")["shows"]}
    assert {figure.partition("/")[0] for figure in unjudged} <= waiting
    assert shown > 200
