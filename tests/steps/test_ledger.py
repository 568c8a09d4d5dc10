"""The ledger's verdicts: right for synthetic tables, and wrong if the arithmetic were."""

import math

import pandas as pd
import pytest

from bnblind import BadInput
from bnblind.pipeline.configuration.claims_file import read_claims
from bnblind.pipeline.discovery import experiments, judged_tables
from bnblind.pipeline.ledger import counts, judge, ledger, overall
from bnblind.pipeline.measurement import measure, select
from bnblind.pipeline.proofs_record import Proofs, read_proofs
from tests.conftest import ROOT
from tests.helpers.ledger import CLAIM, accuracies, row, verdict

PROOFS = Proofs(("T1", "T2"), ())
KINDS = ["theorems/passing", "flows", "features/{grid}-measures"]


def test_the_interval_of_a_paired_difference_is_students():
    """By hand: differences .5, .6, .7; sd .1, t(.975, 2) = 4.302653."""
    table = accuracies(ln=[0.9, 0.8, 0.9], bn=[0.4, 0.2, 0.2])
    found = measure(row(), table)
    assert found.value == pytest.approx(0.6)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert found.interval == pytest.approx((0.6 - half, 0.6 + half))
    assert found.seeds == (30, 31, 32)


@pytest.mark.parametrize(
    ("bn", "expected"),
    [
        ([0.40, 0.21, 0.30], "reproduced"),
        ([0.85, 0.75, 0.86], "not reproduced"),  # a difference of 0.05
        ([0.95, 0.00, 0.55], "undecided"),  # 0.37 in the mean, but no two seeds alike
    ],
)
def test_the_whole_interval_must_lie_beyond_the_margin(bn, expected):
    found = judge("C1.x", CLAIM, row(), lambda name: accuracies(ln=[0.9, 0.8, 0.9], bn=bn))
    assert found["verdict"] == expected
    low, high = found["interval"]
    assert (found["verdict"] == "undecided") == (low < 0.1 < high)


def test_a_difference_is_paired_by_seed():
    """Both swing together from seed to seed: unpaired, the interval would hold the margin."""
    table = accuracies(ln=[0.9, 0.5, 0.3], bn=[0.7, 0.31, 0.1])
    assert verdict(row(), table) == "reproduced"


@pytest.mark.parametrize(("statistic", "limit"), [("largest", 0.9), ("smallest", 0.2)])
def test_extremes_are_over_all_rows(statistic, limit):
    table = accuracies(ln=[0.9, 0.8, 0.2])
    plain = row(difference=None, of=None, minus=None, **{statistic: "value"})
    found = measure(plain, table)
    assert found.value == limit
    assert found.interval == (0.2, 0.9)
    bound = "at_most" if statistic == "largest" else "at_least"
    flat = {k: v for k, v in plain.items() if k != "at_least"}
    assert verdict(flat | {bound: limit}, table) == "reproduced"
    tighter = limit - 0.01 if statistic == "largest" else limit + 0.01
    missed = judge("C1.x", CLAIM, flat | {bound: tighter}, lambda name: table)
    assert missed["verdict"] == "not reproduced"


@pytest.mark.parametrize(
    "table",
    [
        None,
        accuracies(ln=[0.9, 0.8], bn=[0.1, 0.2]),  # two seeds
        accuracies(ln=[0.9, 0.8, 0.9]),  # nothing to subtract
        accuracies(ln=[0.9, 0.8, 0.9], bn=[0.1, 0.1, 0.1]).assign(
            seed=[27, 27, 28, 28, 29, 29] * 2
        ),
        # One seed that chose settings spoils the others.
        accuracies(ln=[0.9, 0.8, 0.9], bn=[0.1, 0.1, 0.1]).assign(
            seed=[29, 29, 30, 30, 31, 31] * 2
        ),
    ],
)
def test_what_is_missing_was_not_run(table):
    found = judge("C1.x", CLAIM, row(), lambda name: table)
    assert found["verdict"] == "without a number"
    assert found["value"] is None
    assert found["interval"] is None
    assert found["seeds"] == []


def test_last_is_of_the_rows_that_the_other_conditions_leave():
    table = pd.DataFrame({"model": ["a", "a", "b"], "epoch": [1, 2, 9], "value": [0.1, 0.2, 0.3]})
    assert select(table, {"epoch": "last", "model": "a"})["value"].tolist() == [0.2]
    assert select(table, {"epoch": {"last": 2}, "model": "a"})["value"].tolist() == [0.1, 0.2]
    assert select(table, {"value": {"at_most": 0.2}})["epoch"].tolist() == [1, 2]
    assert select(table, {"value": {"at_least": 0.2}})["epoch"].tolist() == [2, 9]


def two_rows_a_seed(*pairs):
    """A table with two values of each seed."""
    rows = [{"seed": 30 + i, "value": v} for i, pair in enumerate(pairs) for v in pair]
    return pd.DataFrame(rows)


def plain_row(kind, **bound):
    """The largest, smallest or mean value of the whole table."""
    return {"scope": "s", "table": "t", "where": {}, "figure": "f", kind: "value", **bound}


def test_an_extreme_is_of_all_rows_of_each_seed():
    table = two_rows_a_seed((0.1, 0.9), (0.2, 0.8), (0.3, 0.7))
    smallest = measure(plain_row("smallest", at_least=0.0), table)
    assert (smallest.value, smallest.interval) == (0.1, (0.1, 0.3))
    largest = measure(plain_row("largest", at_most=1.0), table)
    assert (largest.value, largest.interval) == (0.9, (0.7, 0.9))


def test_a_row_tells_its_number_seed_by_seed():
    table = two_rows_a_seed((0.1, 0.9), (0.2, 0.8), (0.3, 0.7))
    for kind, expected in (("mean", [0.5] * 3), ("smallest", [0.1, 0.2, 0.3])):
        found = judge("C1.x", CLAIM, plain_row(kind, at_least=0.0), lambda name: table)
        assert (found["values"], found["seeds"]) == (pytest.approx(expected), [30, 31, 32])


KINK = "every point lies on a kink, as a ReLU's at 0"


@pytest.mark.parametrize(
    ("kinks", "scope"),
    [
        ([0] * 8, "s"),
        ([0, 0, 0, 2] * 2, "s"),  # a point of each seed is left
        ([2] * 8, f"s (undefined for seed 30, 31, 32, 33: {KINK})"),
        # The last epoch of one seed: neither its first epoch nor the other seeds stand in for it.
        ([0, 0, 0, 2, 0, 0, 0, 0], f"s (undefined for seed 31: {KINK})"),
    ],
)
def test_points_on_a_kink_are_not_passed_over(kinks, scope):
    row = {**plain_row("mean", at_most=0.5), "where": {"kinks": 0, "epoch": "last"}}
    values = pd.DataFrame(
        {"seed": [30, 30, 31, 31, 32, 32, 33, 33], "value": 0.1, "epoch": [0, 6] * 4}
    )
    if scope == "s":
        values["epoch"] = 6
    found = judge("C1.x", CLAIM, row, lambda name: values.assign(kinks=kinks))
    assert found["scope"] == scope
    assert found["verdict"] == ("reproduced" if scope == "s" else "without a number")


def test_at_most_asks_for_the_whole_interval():
    """The mean is below the tolerance, the interval's upper end above it."""
    table = two_rows_a_seed((0.1, 0.1), (0.2, 0.2), (0.3, 0.3))
    found = judge("C1.x", CLAIM, plain_row("mean", at_most=0.25), lambda name: table)
    assert found["verdict"] == "undecided"
    assert verdict(plain_row("mean", at_most=0.6), table) == "reproduced"


@pytest.mark.parametrize("kind", ["largest", "smallest", "mean"])
@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_not_passed_over(kind, odd):
    table = two_rows_a_seed((0.1, 0.1), (0.1, odd), (0.1, 0.1))
    bounds = {"at_least": 0.0} if kind == "smallest" else {"at_most": 9.0}
    found = judge("C1.x", CLAIM, plain_row(kind, **bounds), lambda name: table)
    assert found["verdict"] == "without a number"
    assert found["scope"].endswith("(value is not finite for seed 31)")
    table.loc[table["seed"] == 31, "value"] = odd  # the whole seed
    assert judge("C1.x", CLAIM, plain_row(kind, **bounds), lambda name: table)["value"] is None


@pytest.mark.parametrize("side", ["ln", "bn"])
def test_a_run_that_diverged_is_not_passed_over(side):
    """Of four seeds one has no last epoch: three good ones do not make the row."""
    table = accuracies(ln=[0.9, 0.8, 0.9, 0.9], bn=[0.1, 0.1, 0.1, 0.1])
    last = {"where": {"epoch": "last"}}
    assert verdict(row(**last), table) == "reproduced"
    lost = (table["norm"] == side) & (table["seed"] == 33) & (table["epoch"] == 2)
    found = judge("C1.x", CLAIM, row(**last), lambda name: table[~lost])
    assert found["verdict"] == "without a number"
    assert found["scope"].endswith("(no such value for seed 33: did it diverge?)")


def test_an_unknown_column_names_the_claim():
    with pytest.raises(BadInput, match=r"claim C1.x, table t: unknown column 'colour'; allowed"):
        verdict(row(where={"colour": "red"}), accuracies(ln=[1.0]))


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["reproduced", "reproduced"], "reproduced"),
        (["reproduced", "not reproduced"], "partly"),
        (["reproduced", "without a number"], "partly"),
        (["not reproduced", "without a number"], "not reproduced"),
        (["without a number", "without a number"], "without a number"),
        (["not reproduced", "undecided"], "not reproduced"),
        (["reproduced", "undecided"], "undecided"),
        (["undecided", "without a number"], "undecided"),
        (["reproduced", "undecided", "not reproduced"], "partly"),
    ],
)
def test_the_verdict_on_a_claim(verdicts, expected):
    assert overall(verdicts) == expected


def test_rows_that_a_theorem_settles_are_counted_apart():
    proved = {"verdict": "reproduced", "theorem": ["T1"]}
    held, missed, open_, waiting = (
        {"verdict": verdict, "theorem": []}
        for verdict in ("reproduced", "not reproduced", "undecided", "without a number")
    )
    assert counts([held, missed, waiting, waiting]) == "1 of 2 measured, 2 without a number"
    assert counts([proved, proved]) == "2 of 2 theorem rows"
    assert counts([held, missed]) == "1 of 2 measured"
    assert counts([proved, held, open_, open_]) == (
        "1 of 1 theorem rows; 1 of 3 measured, 2 undecided"
    )


def test_the_ledger_holds_each_claim_before_its_rows():
    table = accuracies(ln=[0.9, 0.8, 0.9], bn=[0.1, 0.2, 0.1])
    fine, wrong = row(scope="wide"), row(scope="narrow", at_least=0.9)
    rows = ledger({"C1": CLAIM | {"rows": {"a": fine, "b": wrong}}}, lambda name: table, PROOFS)
    assert [r["id"] for r in rows] == ["C1", "C1.a", "C1.b"]
    assert [r["verdict"] for r in rows] == ["undecided", "reproduced", "undecided"]
    assert rows[0]["value"] == 0.5
    assert rows[0]["scope"].startswith("Holds: wide. Undecided: narrow")
    keys = {"id", "claim", "predicate", "tolerance", "value", "interval", "seeds", "verdict"}
    assert all(keys | {"scope", "artifact", "figure"} <= set(r) for r in rows)


def test_a_claim_says_that_its_theorem_is_proved_where_it_is():
    table = accuracies(ln=[0.9, 0.8, 0.9], bn=[0.1, 0.2, 0.1])
    proved, bare = row(theorem=["T1", "T2"]), row()
    claims = {"C1": CLAIM | {"rows": {"a": proved, "b": bare}}, "C2": CLAIM | {"rows": {"a": bare}}}
    rows = ledger(claims, lambda name: table, PROOFS)
    assert {r["id"]: (r["theorem"], r["proof"]) for r in rows} == {
        **dict.fromkeys(("C1", "C1.a"), (["T1", "T2"], "proved in Coq")),
        **dict.fromkeys(("C1.b", "C2", "C2.a"), ([], None)),
    }
    claims["C1"]["rows"]["b"] = row(theorem=["T3"])
    with pytest.raises(BadInput, match=r"claim C1: unknown theorem 'T3'; allowed: T1, T2"):
        ledger(claims, lambda name: table, PROOFS)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"difference": "valu"}, "unknown column of numbers 'valu'; allowed: seed, epoch, value"),
        ({"difference": "norm"}, "unknown column of numbers 'norm'"),
        ({"difference": None, "largest": "norm"}, "unknown column of numbers 'norm'"),
        ({"difference": None, "mean": "x"}, "unknown column of numbers 'x'"),
        (
            {"where": {"norm": {"last": 3}}, "of": {}},
            "`last` needs a column of numbers; norm holds text",
        ),
        (
            {"where": {"norm": {"at_most": 3}}, "of": {}},
            "`at_most` needs a column of numbers; norm holds",
        ),
        ({"of": {"norm": {"at_least": 3}}}, "`at_least` needs a column of numbers; norm holds"),
    ],
)
def test_a_column_that_is_not_there_or_no_number_is_named(changes, found):
    table = accuracies(ln=[0.9, 0.8, 0.9], bn=[0.1, 0.2, 0.1])
    with pytest.raises(BadInput, match=rf"claim C1.x, table t: {found}"):
        verdict(row(**changes), table)


def test_the_projects_own_claims_name_theorems_and_the_theorems_are_required(monkeypatch):
    monkeypatch.chdir(ROOT)
    claims = read_claims(judged_tables(experiments().values()))
    rows = ledger(claims, lambda name: None, read_proofs())
    assert {r["id"] for r in rows if r["proof"] == "proved in Coq"} >= {"C1", "C2", "C3", "C4"}
    assert list(claims) == [f"C{i}" for i in range(1, 13)]
    assert {r["id"].split(".")[0] for r in rows if not r["paper"]} == {
        "C8",
        "C9",
        "C10",
        "C11",
        "C12",
    }
    assert [name for name, claim in claims.items() if claim["required"]] == ["C1", "C2", "C3"]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("largest: passing", "greatest: passing", "unknown key 'greatest'; allowed: scope"),
        ("largest: passing", "figure: a", "found none; allowed: exactly one of largest, smallest"),
        (
            "at_most: 1",
            "at_least: 0\n      at_most: 1",
            "found at_least, at_most; allowed",
        ),
        ("required: true", "required: perhaps", "allowed: boolean"),
        (
            "table: flows",
            "table: flow",
            "x.table: found 'flow'; allowed: theorems/passing, flows, features/GRID-measures",
        ),
        (
            "where: {}",
            "where: { epoch: { lst: 3 } }",
            r"a number or text, last, \{ last: k",
        ),
        ("where: {}", "where: {", r"claims.yaml is not valid YAML: .*line"),
    ],
)
def test_an_unclear_claim_is_refused(old, new, found, tmp_path):
    text = (
        "C1:\n  claim: a\n  required: true\n  rows:\n    x:\n      scope: s\n      table: flows\n"
        "      figure: f\n      where: {}\n      largest: passing\n      at_most: 1\n"
    )
    assert text.count(old) == 1
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace(old, new).replace("      figure: f\n", "", "figure: a" in new))
    with pytest.raises(BadInput, match=found):
        read_claims(KINDS, path)


@pytest.mark.parametrize("text", ["", "- C1", "C1"])
def test_a_claims_file_that_holds_no_claims_is_refused(text, tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"claims.yaml: top level: found .*; allowed: object"):
        read_claims(KINDS, path)
