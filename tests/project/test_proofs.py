"""The machine-checked proofs pass their check, and the check would notice if they did not."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.commit import by_commit
from tests.helpers.proofs import FOLDER, check, coq, mutations, sources

needs_coq = pytest.mark.usefixtures("installed_coq")

STATED = "From Coq Require Import Reals.\nDefinition T : Prop := 1 = 1.\n"
PROVED = "From BNBlind Require Import Statements.\nTheorem T_holds : T.\nProof. reflexivity. Qed.\n"


@pytest.fixture(scope="session")
def installed_coq():
    try:
        coq.require_coq()
    except sources.Refused as error:
        pytest.skip(str(error))


def two_files(stated=STATED, proved=PROVED):
    return {"Statements.v": stated, "Proof.v": proved}


def compile_and_ask(folder, texts):
    with ThreadPoolExecutor(1) as pool:
        coq.compile_all(folder, texts, pool)
    coq.require_axioms(folder, texts)


@needs_coq
@pytest.mark.starts_interpreter
def test_the_proofs_pass(monkeypatch):
    """Compiled from scratch, the record holds what the sources state. Of the mutations a tenth is
    tried, another one for each commit; `make proofs` tries all.
    """
    texts, every = sources.read_sources(FOLDER), mutations.read_mutations(FOLDER)
    few = by_commit(every, len(every) // 10)
    monkeypatch.setattr(check, "read_mutations", lambda folder: few)
    theorems = check.check(texts, with_coqchk=False, with_list=True)
    assert check.record(texts, theorems) == (FOLDER / "record.json").read_text()


def test_the_published_record_is_of_what_is_stated():
    """Seen without Coq: a record that was edited or merged by hand does not pass."""
    record = json.loads((FOLDER / "record.json").read_text())
    texts = sources.read_sources(FOLDER)
    stated = sources.statements(texts["Statements.v"])
    assert {t["name"]: t["statement"] for t in record["theorems"]} == stated
    assert all(t["sha256"] == check.sha256(t["statement"]) for t in record["theorems"])
    assert len(record["theorems"]) == len(stated)
    assert all({*t["axioms"]} <= coq.AXIOMS for t in record["theorems"])
    assert record["sources"] == {name: check.sha256(text) for name, text in texts.items()}
    scripts = {file.name for file in FOLDER.glob("*.py")}
    assert record["checked_by"].keys() == {*scripts, "mutations.toml", "_CoqProject"}


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
    texts = two_files(proved=f"From BNBlind Require Import Statements.\n{proof}\n")
    with pytest.raises(sources.Refused, match=found):
        compile_and_ask(tmp_path, texts)


@needs_coq
@pytest.mark.parametrize(
    ("new", "found"),
    [("2 = 1", None), ("1 = 1 /\\ 1 = 1", "is proved also"), ("1 = ", "yntax error")],
)
def test_a_mutation_has_to_fail_in_the_proof(new, found, tmp_path):
    texts = two_files(proved=PROVED.replace("reflexivity", "repeat split"))
    mutation = mutations.Mutation("T", "1 = 1", new, "a test")
    with ThreadPoolExecutor(1) as pool:
        coq.compile_all(tmp_path, texts, pool)
    if found is None:
        mutations.try_statement(tmp_path, texts, 0, mutation)
    else:
        with pytest.raises(sources.Refused, match=found):
            mutations.try_statement(tmp_path, texts, 0, mutation)


@needs_coq
@pytest.mark.parametrize(("new", "survives"), [("3", False), ("1 + 1", True)])
def test_a_changed_definition_has_to_be_rejected(new, survives, tmp_path):
    stated = "Definition two := 2. (* the number. *)\nDefinition T : Prop := two = 2.\n"
    texts = {"Definitions.v": stated.split("\n")[0] + "\n", **two_files()}
    texts["Statements.v"] = "From BNBlind Require Export Definitions.\n" + stated.split("\n")[1]
    mutation = mutations.Mutation("two", "2", new, "a test", "Proof.v")
    with ThreadPoolExecutor(1) as pool:
        coq.compile_all(tmp_path, texts, pool)
    if survives:
        with pytest.raises(sources.Refused, match=r"Proof\.v compiles also"):
            mutations.try_definition(tmp_path, texts, mutation)
    else:
        mutations.try_definition(tmp_path, texts, mutation)


@pytest.mark.parametrize(
    "gap",
    [
        *(
            "Admitted.",
            "admit.",
            "Axiom a : False.",
            "Parameter a : False.",
            "Unset Guard Checking.",
        ),
        *(
            "Variable a : False.",
            "Variables (a : False).",
            "Hypothesis a : False.",
            "Context (a : T).",
        ),
        *(
            "Set Definitional UIP.",
            "Declare ML Module a.",
            "Load a.",
            "Drop.",
            "Redirect a.",
            "x(**)Abort.",
        ),
        *(
            "- { Local Notation a := b.",
            "2: { Canonical a := b.",
            "#[bypass_check(guard)] Fixpoint a.",
        ),
        *(
            "Module A.",
            "Infix a.",
            "Coercion a : b >-> c.",
            "Local Definition a := b.",
            "Primitive a.",
        ),
    ],
)
def test_gaps_are_found(gap):
    assert sources.gaps("A.v", f"Lemma a : True. (* fine *)\n{gap}\n")
    commented = f"Lemma admitted_here : True. (* no {gap} (* nested *) {gap} *)\n"
    assert not sources.gaps("A.v", commented)


def test_variables_belong_in_a_section_and_two_notations_in_their_file():
    section = "Section A.\nVariables (n : nat).\nHypothesis E : n = 0.\nEnd A.\n"
    assert not sources.gaps("A.v", section)
    assert sources.gaps("A.v", section + "Variables (n : nat).\n") == ["Variables (n : nat)"]
    text = (FOLDER / "Basics.v").read_text()
    assert not sources.gaps("Basics.v", text)
    assert sources.gaps("Sums.v", text) == ["text in quotes"]
    other = text.replace("\\mean_ (", "\\sum (")
    assert sources.gaps("Basics.v", other) == ["text in quotes"]


# Coq reads "(*" in a comment as text in quotes; what follows is no comment.
HIDDEN = """(* "(*" *)
#[bypass_check(guard)] Fixpoint loop (n : nat) : False := loop n.
(* "*)" *)
From BNBlind Require Import Statements.
Theorem T_holds : T.
Proof. destruct (loop 0). Qed.
"""
FALSE = STATED.replace("1 = 1", "1 = 0")
WITHOUT_REALS = FALSE.partition("\n")[2]
"""Coq's second checker reads all that is imported, and the reals take it two minutes."""


def write(folder, texts):
    (folder / "_CoqProject").write_text("\n".join(["-Q . BNBlind", *texts]) + "\n")
    for name, text in texts.items():
        (folder / name).write_text(text)


def test_a_gap_hidden_behind_a_quoted_comment_is_refused(tmp_path):
    write(tmp_path, two_files(FALSE, HIDDEN))
    with pytest.raises(sources.Refused, match=r"Proof\.v: text in quotes"):
        sources.read_sources(tmp_path)


@needs_coq
@pytest.mark.parametrize("stage", ["assumptions", "coqchk"])
def test_an_unsafe_fixpoint_is_refused_by_every_stage_alone(stage, tmp_path):
    texts = two_files(WITHOUT_REALS, HIDDEN)
    with ThreadPoolExecutor(1) as pool:
        coq.compile_all(tmp_path, texts, pool)
    with pytest.raises(sources.Refused, match=r"loop is assumed to be guarded|fixpoints: \S*loop"):
        (coq.require_axioms if stage == "assumptions" else coq.run_coqchk)(tmp_path, texts)


SUMMARY = """
CONTEXT SUMMARY
===============

* Theory: Set is predicative

* Axioms:
    Coq.Reals.ClassicalDedekindReals.sig_not_dec
    Coq.Logic.Classical_Prop.classic

* Constants/Inductives relying on type-in-type: <none>

* Constants/Inductives relying on unsafe (co)fixpoints: <none>

* Inductives whose positivity is assumed: <none>
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Coq.Logic.Classical_Prop.classic", "BNBlind.Proof.cheat"),
        ("Coq.Logic.Classical_Prop.classic", "BNBlind.Classical_Prop.classic"),
        ("type-in-type: <none>", "type-in-type:\n    BNBlind.Proof.T"),
        ("fixpoints: <none>", "fixpoints:\n    BNBlind.Proof.loop"),
        ("assumed: <none>", "assumed:\n    BNBlind.Proof.Bad"),
        ("predicative", "impredicative"),
        ("* Inductives whose positivity is assumed: <none>\n", ""),
        ("CONTEXT SUMMARY", ""),
    ],
)
def test_the_summary_of_coqs_second_checker_is_read(old, new):
    coq.require_summary(SUMMARY)
    assert old in SUMMARY
    with pytest.raises(sources.Refused, match="coqchk"):
        coq.require_summary(SUMMARY.replace(old, new))


def test_a_gap_in_a_source_is_refused(tmp_path):
    write(tmp_path, two_files(proved=PROVED.replace("Qed", "Admitted")))
    with pytest.raises(sources.Refused, match=r"Proof\.v: Admitted"):
        sources.read_sources(tmp_path)
    (tmp_path / "Other.v").write_text("")
    with pytest.raises(sources.Refused, match=r"differ in Other\.v"):
        sources.read_sources(tmp_path)


def hashed(text):
    return {name: check.sha256(body) for name, body in sources.statements(text).items()}


def test_the_hash_is_that_of_the_statement_alone():
    text = "Definition T : Prop := forall n, (1 <= n)%nat -> n = n.\n"
    same = (
        "(** words. *)\nDefinition T : Prop :=\n  forall n,  (* more *)\n (1 <= n)%nat -> n = n.\n"
    )
    assert hashed(text) == hashed(same)
    assert hashed(text) != hashed(text.replace("1 <=", "2 <="))
    assert sources.proofs(two_files()).keys() == {"T"}


@pytest.mark.parametrize(
    ("stated", "proved", "found"),
    [
        (STATED, "", "without proof: T"),
        (STATED, PROVED.replace("Qed", "Defined"), "without proof: T"),
        (STATED, PROVED.replace("T_holds : T", "T_holds : U"), "T_holds : U"),
        (STATED, PROVED + PROVED, "T_holds : T"),
        (STATED.replace("T :", "U :"), PROVED, "T_holds : T"),
        (STATED + "Definition n := 1.\n", PROVED, "propositions only.*Definition n"),
        (STATED + "Definition n : nat := 1.\n", PROVED, "propositions only.*Definition n"),
        (STATED + 'Notation "0 < x" := False.\n', PROVED, "propositions only.*Notation"),
        (STATED + "Local Definition T : Prop := False.\n", PROVED, "propositions only.*Local"),
        (STATED + "Definition T : Prop := True.\n", PROVED, "propositions only.*Definition T"),
        (STATED + "Open Scope nat_scope.\n", PROVED, "propositions only.*nat_scope"),
    ],
)
def test_statements_and_proofs_belong_together(stated, proved, found):
    with pytest.raises(sources.Refused, match=found):
        sources.proofs(two_files(stated, proved))


def test_axioms_are_read_off_what_coq_prints():
    printed = "Axioms:\nA.first : forall P : Prop,\n  {P} + {~ P}\nB.second_one\n  : nat\n"
    found = coq.assumptions(f"Closed under the global context\n{printed}{printed}")
    assert found == [set(), {"A.first", "B.second_one"}, {"A.first", "B.second_one"}]
    assert coq.assumptions("") == []


@pytest.mark.parametrize(
    "line",
    [
        *("loop is assumed to be guarded.", "Bad is assumed to be positive."),
        *("T relies on an unsafe hierarchy.", "seq relies on definitional UIP."),
        *("Theory:", "Section Variables:", "Type hierarchy is collapsed (logic is inconsistent)"),
    ],
)
def test_anything_else_that_coq_prints_of_assumptions_is_refused(line):
    with pytest.raises(sources.Refused, match="Print Assumptions"):
        coq.assumptions(f"Axioms:\nA.first : nat\n{line}\n")
    with pytest.raises(sources.Refused, match=r"A\.first"):
        coq.assumptions("A.first : nat\n")


def test_every_mutation_changes_one_place_and_says_why():
    texts = sources.read_sources(FOLDER)
    stated = sources.statements(texts["Statements.v"])
    lines = {n: line for text in texts.values() for n, line in sources.definitions(text).items()}
    listed = mutations.read_mutations(FOLDER)
    for mutation in listed:
        line = stated.get(mutation.of, lines[mutation.of])
        assert mutations.mutated(line, mutation) != line
        assert mutation.reason.endswith(".")
        assert (mutation.of in stated) == (mutation.rejected_by == "")
        assert mutation.rejected_by in {"", *texts}
    for_readers = texts["Statements.v"].partition("(** * How to read the statements *)")[2]
    uncovered = stated.keys() - {mutation.of for mutation in listed}
    assert uncovered == sources.statements(for_readers).keys()
    with pytest.raises(sources.Refused, match="occurs 2 times"):
        mutations.mutated("a a", mutations.Mutation("T", "a", "b", "a test"))


def test_the_record_is_the_same_bytes_for_the_same_sources():
    theorem = check.Theorem("T", "Proof.v", "1 = 1", check.sha256("1 = 1"), ("A.first",))
    text = check.record(two_files(), [theorem])
    assert text == check.record(two_files(), [theorem])
    assert json.loads(text)["theorems"][0]["axioms"] == ["A.first"]
    assert text != check.record(two_files(proved=PROVED + "\n"), [theorem])


def test_without_coq_one_line_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["check.py", "--record", str(tmp_path / "proofs.json")])
    with pytest.raises(SystemExit, match=r"^error: coqc was not found; .*libcoq-coquelicot\)$"):
        check.main()
    assert not [*tmp_path.iterdir()]


@pytest.mark.starts_interpreter
def test_an_old_python_gets_one_line(tmp_path):
    program = "import sys; sys.modules['tomllib'] = None; sys.path[0] = sys.argv[1]; import check"
    run = subprocess.run(
        [sys.executable, "-c", program, FOLDER],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert re.fullmatch(r"error: the check needs Python 3\.11 or newer; .* is older\n", run.stderr)


def test_a_record_of_other_sources_or_another_check_is_known(tmp_path):
    file = tmp_path / "record.json"
    assert not check.is_of(file, two_files())
    file.write_text(check.record(two_files(), []))
    assert check.is_of(file, two_files())
    assert not check.is_of(file, two_files(proved=PROVED + "\n"))
    file.write_text(file.read_text().replace(check.hashes({})["checked_by"]["check.py"], "0"))
    assert not check.is_of(file, two_files())
