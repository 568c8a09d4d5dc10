"""The machine-checked proofs pass their check, and the check would notice if they did not."""

import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "proofs"
_spec = importlib.util.spec_from_file_location("check_proofs", FOLDER / "check.py")
check = importlib.util.module_from_spec(_spec)
sys.modules["check_proofs"] = check
_spec.loader.exec_module(check)

needs_coq = pytest.mark.skipif(
    not shutil.which("coqc"), reason=f"coqc was not found; install {check.INSTALL}"
)

STATED = "From Coq Require Import Reals.\nDefinition T : Prop := 1 = 1.\n"
PROVED = "From BNBlind Require Import Statements.\nTheorem T_holds : T.\nProof. reflexivity. Qed.\n"


def sources(stated=STATED, proved=PROVED):
    return {"Statements.v": stated, "Proof.v": proved}


def compile_and_ask(folder, texts):
    with ThreadPoolExecutor(1) as pool:
        check.compile_all(folder, texts, pool)
    check.require_axioms(folder, texts)


@needs_coq
def test_the_proofs_pass(tmp_path):
    """From scratch, as `make proofs` does; the record holds what the sources state."""
    file = tmp_path / "proofs.json"
    command = [sys.executable, FOLDER / "check.py", "--record", file]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert file.read_text() == (FOLDER / "record.json").read_text(), "not the published record"
    record = json.loads(file.read_text())
    texts = check.read_sources(FOLDER)
    stated = check.statements(texts["Statements.v"])
    assert {t["name"]: t["statement"] for t in record["theorems"]} == stated
    assert all(t["sha256"] == check.sha256(t["statement"]) for t in record["theorems"])
    assert all({*t["axioms"]} <= check.AXIOMS for t in record["theorems"])
    assert record["sources"] == {name: check.sha256(text) for name, text in texts.items()}


@needs_coq
@pytest.mark.parametrize(
    ("proof", "found"),
    [
        ("Variable cheat : T.\nTheorem T_holds : T.\nProof. exact cheat. Qed.", "cheat"),
        ("Definition T := True.\nTheorem T_holds : T.\nProof. exact I. Qed.", "Statements.T"),
        ("Theorem T_holds : T.\nProof. exact I. Qed.", "does not compile"),
    ],
)
def test_an_assumption_another_statement_and_a_wrong_proof_are_refused(proof, found, tmp_path):
    texts = sources(proved=f"From BNBlind Require Import Statements.\n{proof}\n")
    with pytest.raises(check.Refused, match=found):
        compile_and_ask(tmp_path, texts)


@needs_coq
@pytest.mark.parametrize(
    ("new", "found"),
    [("2 = 1", None), ("1 = 1 /\\ 1 = 1", "is proved also"), ("1 = ", "yntax error")],
)
def test_a_mutation_has_to_fail_in_the_proof(new, found, tmp_path):
    texts = sources(proved=PROVED.replace("reflexivity", "repeat split"))
    mutation = check.Mutation("T", "1 = 1", new, "a test")
    with ThreadPoolExecutor(1) as pool:
        check.compile_all(tmp_path, texts, pool)
    if found is None:
        check.try_statement(tmp_path, texts, 0, mutation)
    else:
        with pytest.raises(check.Refused, match=found):
            check.try_statement(tmp_path, texts, 0, mutation)


@needs_coq
@pytest.mark.parametrize(("new", "survives"), [("3", False), ("1 + 1", True)])
def test_a_changed_definition_has_to_be_rejected(new, survives, tmp_path):
    stated = "Definition two := 2. (* the number. *)\nDefinition T : Prop := two = 2.\n"
    texts = {"Definitions.v": stated.split("\n")[0] + "\n", **sources()}
    texts["Statements.v"] = "From BNBlind Require Export Definitions.\n" + stated.split("\n")[1]
    mutation = check.Mutation("two", "2", new, "a test", "Proof.v")
    with ThreadPoolExecutor(1) as pool:
        check.compile_all(tmp_path, texts, pool)
    if survives:
        with pytest.raises(check.Refused, match=r"Proof\.v compiles also"):
            check.try_definition(tmp_path, texts, mutation)
    else:
        check.try_definition(tmp_path, texts, mutation)


@pytest.mark.parametrize(
    "gap",
    ["Admitted.", "admit.", "Axiom a : False.", "Parameter a : False.", "Unset Guard Checking."],
)
def test_gaps_are_found(gap):
    assert check.gaps(f"Lemma a : True. (* fine *)\n{gap}\n")
    assert not check.gaps(f"Lemma admitted_here : True. (* no {gap} (* nested *) {gap} *)\n")


def test_a_gap_in_a_source_is_refused(tmp_path):
    (tmp_path / "_CoqProject").write_text("-Q . BNBlind\nStatements.v\nProof.v\n")
    for name, text in sources(proved=PROVED.replace("Qed", "Admitted")).items():
        (tmp_path / name).write_text(text)
    with pytest.raises(check.Refused, match=r"Proof\.v: Admitted"):
        check.read_sources(tmp_path)
    (tmp_path / "Other.v").write_text("")
    with pytest.raises(check.Refused, match=r"differ in Other\.v"):
        check.read_sources(tmp_path)


def hashed(text):
    return {name: check.sha256(body) for name, body in check.statements(text).items()}


def test_the_hash_is_that_of_the_statement_alone():
    text = "Definition T : Prop := forall n, (1 <= n)%nat -> n = n.\n"
    same = (
        "(** words. *)\nDefinition T : Prop :=\n  forall n,  (* more *)\n (1 <= n)%nat -> n = n.\n"
    )
    assert hashed(text) == hashed(same)
    assert hashed(text) != hashed(text.replace("1 <=", "2 <="))
    assert check.proofs(sources()).keys() == {"T"}


@pytest.mark.parametrize(
    ("stated", "proved", "found"),
    [
        (STATED, "", "without proof: T"),
        (STATED, PROVED.replace("Qed", "Defined"), "without proof: T"),
        (STATED, PROVED.replace("T_holds : T", "T_holds : U"), "T_holds : U"),
        (STATED, PROVED + PROVED, "T_holds : T"),
        (STATED.replace("T :", "U :"), PROVED, "T_holds : T"),
        (STATED + "Definition n := 1.\n", PROVED, "propositions only.*Definition n"),
    ],
)
def test_statements_and_proofs_belong_together(stated, proved, found):
    with pytest.raises(check.Refused, match=found):
        check.proofs(sources(stated, proved))


def test_axioms_are_read_off_what_coq_prints():
    printed = "Axioms:\nA.first : forall P : Prop,\n  {P} + {~ P}\nB.second_one\n  : nat\n"
    found = check.assumptions(f"Closed under the global context\n{printed}{printed}")
    assert found == [set(), {"A.first", "B.second_one"}, {"A.first", "B.second_one"}]
    assert check.assumptions("") == []


def test_every_mutation_changes_one_place_and_says_why():
    texts = check.read_sources(FOLDER)
    stated = check.statements(texts["Statements.v"])
    lines = {n: line for text in texts.values() for n, line in check.definitions(text).items()}
    mutations = check.read_mutations(FOLDER)
    for mutation in mutations:
        line = stated.get(mutation.of, lines[mutation.of])
        assert check.mutated(line, mutation) != line
        assert mutation.reason.endswith(".")
        assert (mutation.of in stated) == (mutation.rejected_by == "")
        assert mutation.rejected_by in {"", *texts}
    assert {f"T{number}" for number in range(1, 7)} <= {mutation.of for mutation in mutations}
    with pytest.raises(check.Refused, match="occurs 2 times"):
        check.mutated("a a", check.Mutation("T", "a", "b", "a test"))


def test_the_record_is_the_same_bytes_for_the_same_sources():
    theorem = check.Theorem("T", "Proof.v", "1 = 1", check.sha256("1 = 1"), ("A.first",))
    text = check.record(sources(), [theorem])
    assert text == check.record(sources(), [theorem])
    assert json.loads(text)["theorems"][0]["axioms"] == ["A.first"]
    assert text != check.record(sources(proved=PROVED + "\n"), [theorem])


def test_without_coq_one_line_says_what_is_missing(tmp_path):
    run = subprocess.run(
        [sys.executable, FOLDER / "check.py", "--record", tmp_path / "proofs.json"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert re.fullmatch(r"error: coqc was not found; .*libcoq-coquelicot\)\n", run.stderr)
    assert not [*tmp_path.iterdir()]


def table():
    """The rows of the README's table: statements, library functions, tests."""
    for line in (FOLDER / "README.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| |"):
            cells = line.strip("|").split("|")
            yield [re.findall(r"`([^`]+)`", cell) for cell in cells[1:]]


def test_the_table_names_every_statement_once():
    named = [name for statements, _, _ in table() for name in statements]
    assert sorted(named) == sorted(check.statements((FOLDER / "Statements.v").read_text()))


def test_the_table_leads_to_functions_and_tests():
    for _, functions, tests in table():
        for function in functions:
            module, name = function.rsplit(".", 1)
            assert hasattr(importlib.import_module(module), name), function
        for test in tests:
            file, name = test.split("::")
            assert f"def {name}(" in Path(ROOT, "tests", f"{file}.py").read_text(), test
