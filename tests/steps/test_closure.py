"""The import closure: what a step's rule must name as its inputs."""

import ast
import json
from pathlib import Path
from pkgutil import iter_modules

import pytest

from bnblind.pipeline import steps
from bnblind.pipeline.closure import import_closure
from tests.conftest import ROOT, RunPython
from tests.steps.planning import Plan

STEPS = [module.name for module in iter_modules(steps.__path__)]

PROGRAM = """
import contextlib, importlib, json, sys

def own():
    return [name for name in sys.modules if name.split(".")[0] == "bnblind"]

def loaded(imported, statements, command):
    for name in own():
        del sys.modules[name]
    for name in imported:
        importlib.import_module(name)
    exec(statements, {})
    if command:
        with contextlib.redirect_stdout(sys.stderr):
            importlib.import_module(f"bnblind.pipeline.steps.{command[0]}").main(command[1:])
    return [sys.modules[name].__file__ for name in own()]

print(json.dumps([loaded(**job) for job in json.load(open(sys.argv[1]))]))
"""
"""Of each job, the package's modules that Python has loaded when it ends. Only they are loaded
again for each job, as if the others, which take most of the time, were not loaded yet.
"""


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def imports_of(notebook: Path) -> str:
    """The import statements of its cells."""
    cells = json.loads(notebook.read_text())["cells"]
    code = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    nodes = [node for text in code for node in ast.parse(text).body]
    return "\n".join(ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom))


def job(*imported: str, statements: str = "", command: tuple[str, ...] = ()) -> dict[str, object]:
    return {"imported": imported, "statements": statements, "command": command}


@pytest.fixture(scope="module")
def loaded(plan: Plan, run_python: RunPython) -> list[set[str]]:
    """Files below the project's folder that are loaded by importing each step, then by running
    each job of the plan. Of a page's job the step and the notebook's imports are imported: the
    notebook itself runs in an interpreter of its own.
    """
    jobs = [job(f"bnblind.pipeline.steps.{step}") for step in STEPS]
    for planned in plan.jobs:
        imported = ("bnblind.pipeline.__main__", f"bnblind.pipeline.steps.{planned.command[0]}")
        if planned.rule in ("index", "render"):  # need figures, executed notebooks
            jobs.append(job(*imported))
        elif planned.command[0] == "notebook":
            name = planned.rule.removesuffix("_page")
            statements = imports_of(ROOT / f"notebooks/{name}.ipynb")
            jobs.append(job(*imported, statements=statements))
        else:
            jobs.append(job(*imported, command=tuple(planned.command)))
    (plan.folder / "jobs.json").write_text(json.dumps(jobs))
    run = run_python("-c", PROGRAM, "jobs.json", cwd=plan.folder, OMP_NUM_THREADS="1")
    assert run.returncode == 0, run.stderr
    return [
        {str(Path(file).relative_to(ROOT)) for file in files}
        for files in json.loads(run.stdout.splitlines()[-1])
    ]


@pytest.mark.parametrize("step", STEPS)
def test_everything_that_a_step_imports_is_in_its_closure(
    step: str, loaded: list[set[str]]
) -> None:
    """Against Python itself: the package's modules after importing the step."""
    found = loaded[STEPS.index(step)]
    assert f"src/bnblind/pipeline/steps/{step}.py" in found
    assert {*import_closure([f"src/bnblind/pipeline/steps/{step}.py"])} == found


def test_a_job_names_all_the_code_that_it_loads_and_no_other(
    plan: Plan, loaded: list[set[str]]
) -> None:
    """Also what it loads by name only when it runs: the trainer of its kind, its cells' norms."""
    wrong, kinds = {}, {}
    norms = {*import_closure(map(str, Path("src/bnblind/norms").glob("*.py")))}
    for planned, found in zip(plan.jobs, loaded[len(STEPS) :], strict=True):
        named = {f for f in planned.inputs if f.startswith("src/") and f.endswith(".py")}
        if planned.rule.endswith("_page"):  # the facts of all norms decide what is drawn with what
            found = found | norms
        if found != named:
            wrong[planned.rule] = {"unnamed": found - named, "not loaded": named - found}
        kinds[planned.rule] = {f for f in found if f.endswith("/kind.py")}
    assert wrong == {}
    assert {*STEPS} == {planned.command[0] for planned in plan.jobs}
    assert kinds["train_flows"] == {"src/bnblind/experiments/flows/kind.py"}
    assert kinds["train_rates"] == {"src/bnblind/experiments/networks/kind.py"}


def make_tree(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_public_names_lead_to_their_modules(tmp_path: Path) -> None:
    """A notebook that uses the package's lazily loaded names depends on all of them."""
    cell = {"cell_type": "code", "source": ["import bnblind\n", "bnblind.thing()"]}
    make_tree(
        tmp_path,
        {
            "bnblind/__init__.py": "if TYPE_CHECKING:\n    from bnblind.deep.mod import thing\n",
            "bnblind/deep/__init__.py": "",
            "bnblind/deep/mod.py": "from bnblind import other",
            "bnblind/other.py": "",
            "bnblind/unused.py": "",
            "n.ipynb": json.dumps({"cells": [cell]}),
        },
    )
    found = import_closure([str(tmp_path / "n.ipynb")], str(tmp_path))
    names = {str(Path(file).relative_to(tmp_path)) for file in found}
    assert names == {
        "n.ipynb",
        "bnblind/__init__.py",
        "bnblind/deep/__init__.py",
        "bnblind/deep/mod.py",
        "bnblind/other.py",
    }
