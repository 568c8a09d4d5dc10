"""What the structure of the code promises: public interfaces only, and one place for each thing."""

import ast
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bnblind.norm_facts import norm_module
from bnblind.norms import norm_class, norm_names
from tests.conftest import ROOT

NAME = b"linear" + b"_signal"  # so that this file is not among those that it counts
ENGINES = ("snakemake", "dvc", "papermill")
PUBLIC = {"snakemake.utils": {"min_version"}, "papermill": None}
"""What may be imported of them; None: any name that has no underscore."""
TOOLS = re.compile(rf"({'|'.join(ENGINES)}|nbconvert|nbformat|jupyter\w*)(\.|$)")
"""The engines and the notebooks' packages: nothing private of them is used."""
HANDED = ("workflow", "rules", "dag")
"""Objects that Snakemake hands to a Snakefile."""


def tracked(*patterns: str) -> list[Path]:
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns)
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def imports(node: ast.AST) -> Iterator[tuple[str, str | None, str]]:
    """What an import statement takes: module, a name of it or None, and what it is called here."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, None, alias.asname or alias.name.split(".")[0]
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield node.module or "", alias.name, alias.asname or alias.name


def taken(nodes: Iterable[ast.AST]) -> tuple[list[str], set[str]]:
    """Odd or private imports of the tools, and the names under which the code knows the tools."""
    found, known = [], {*HANDED}
    for module, name, called in (taking for node in nodes for taking in imports(node)):
        if not TOOLS.match(module):
            continue
        known.add(called)
        engine = module.split(".")[0] in ENGINES
        allowed = PUBLIC.get(module)
        if any(map(is_private, module.split("."))) or (engine and module not in PUBLIC):
            found.append(module)
        elif name and (is_private(name) or (allowed is not None and name not in allowed)):
            found.append(f"{module}.{name}")
    return found, known


def private_uses(code: str) -> list[str]:
    """What Python code takes of the tools beside their public names."""
    nodes = [*ast.walk(ast.parse(code))]
    found, known = taken(nodes)
    for node in nodes:
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of: ast.AST = node.value
            while isinstance(of, ast.Attribute | ast.Call | ast.Subscript):
                of = of.func if isinstance(of, ast.Call) else of.value
            if isinstance(of, ast.Name) and of.id in known:
                found.append(ast.unparse(node))
    return found


IMPORT = re.compile(
    r"^[ \t]*(from [\w.]+ import (?:\([^()]*\)|[^(\n]*)|import [^\n]*)$", re.MULTILINE
)


def statements(text: str) -> Iterator[ast.AST]:
    """The imports of a text that is not all Python; a sentence that begins like one is none."""
    for line in IMPORT.findall(text):
        with suppress(SyntaxError):
            yield from ast.walk(ast.parse(line))


def private_uses_of_rules(text: str) -> list[str]:
    """The same of a Snakefile, by its text."""
    found, known = taken(statements(text))
    names = "|".join(map(re.escape, sorted(known)))
    private = re.findall(rf"(?<![\w.])(?:{names})(?:\.\w+)*\.\w+", text)
    return found + [name for name in private if is_private(name.split(".")[-1])]


def python_of(file: Path) -> str:
    """A file's Python code; of a notebook, that of its cells."""
    if file.suffix != ".ipynb":
        return file.read_text()
    cells = json.loads(file.read_text())["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


@pytest.mark.parametrize("find", [private_uses, private_uses_of_rules])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from snakemake.utils import min_version", []),
        ("from snakemake.jobs import Job\n\nJob.postprocess = None", ["snakemake.jobs"]),
        ("import papermill", []),
        ("from papermill import _x", ["papermill._x"]),
        ("import dvc.repo", ["dvc.repo"]),
        ("x = workflow._settings", ["workflow._settings"]),
        ("import papermill; papermill._x", ["papermill._x"]),
        ("import papermill as pm\nx = pm.iorw._x()", ["pm.iorw._x"]),
        ("import papermill\n\npapermill.__version__", []),
        ("from nbformat import (\n    NotebookNode,\n    _x,\n)", ["nbformat._x"]),
        ("from nbformat.v4 import new_notebook", []),
        ("from nbconvert._x import y", ["nbconvert._x"]),
        ("from jupyter_client import KernelManager as K\nK._x", ["K._x"]),
        ("def f():\n    import jupyter_core\n    jupyter_core._x = 1", ["jupyter_core._x"]),
        ("from nbconvert_like import _x\nself._x", []),
        ('"""The rules\nfrom papermill and (what they need\nimport of it) are.\n"""', []),
    ],
)
def test_private_uses_are_seen(
    find: Callable[[str], list[str]], code: str, expected: list[str]
) -> None:
    assert find(code) == expected


def test_private_uses_of_what_a_call_or_an_entry_gives_are_seen() -> None:
    code = "from nbconvert import HTMLExporter as E\nE(x=1)._a, E.all[0].b._c"
    assert private_uses(code) == ["E(x=1)._a", "E.all[0].b._c"]


def test_a_sentence_that_begins_like_an_import_hides_none() -> None:
    text = '"""Rules\nfrom dvc (and more\n"""\nimport dvc.repo\nrule a:\n    shell: "b"\n'
    assert private_uses_of_rules(text) == ["dvc.repo"]


def test_no_private_name_of_the_workflow_engines_is_used() -> None:
    python = tracked("*.py", "notebooks/*.ipynb")
    rules = tracked("*.smk", "Snakefile", "workflow/Snakefile")
    assert len(python) > 100
    assert {file.suffix for file in python} == {".py", ".ipynb"}
    assert len(rules) > 5
    found = {file: private_uses(python_of(file)) for file in python}
    found |= {file: private_uses_of_rules(file.read_text()) for file in rules}
    assert {str(file.relative_to(ROOT)): uses for file, uses in found.items() if uses} == {}


def test_an_experiment_is_named_in_few_files() -> None:
    """The toy task, outside data, locks and generated text: what declares, computes and shows it,
    the profiles, claims and findings, and its tests.
    """
    generated = {"docs/running.md", "config/README.md"}
    naming = {
        str(file.relative_to(ROOT))
        for file in tracked()
        if file.suffix not in (".svg", ".lock")
        and file.parent.name != "data"
        and file.relative_to(ROOT).parts[0] not in ("published", "receipts")
        and NAME in file.read_bytes()
    }
    assert len(naming - generated) <= 13, sorted(naming)


SUBJECT = "batch normalization is the paper's subject: "
TOLD = {
    "figures/flows.py": {"norm != 'bn'": SUBJECT + "the others are compared with it"},
    "pipeline/declarations/derivatives.py": {
        "'bn' not in grid['norms']": SUBJECT + "its claims need it among the networks",
        "'bn' not in norms": SUBJECT + "and among those that are split",
    },
    "layers.py": {"BatchNorm": "its statistics are torch's, under either class"},
    "model_split.py": {"BatchNorm": "as in layers.py"},
    "probe.py": {"BatchNorm": "T4, which the probe computes, is batch norm's backward pass"},
    "experiments/networks/blocking.py": {"BatchNorm": "asks whether there is a layer to probe"},
    "experiments/networks/splitting.py": {"BatchNorm": "T4's shares are batch norm's"},
    "exact.py": {"hdiag == 'none'": "no norm: there the Hessian's diagonal is left out"},
    "split.py": {"hdiag not in ('auto', 'exact', 'none')": "as in exact.py"},
    "pipeline/steps/split_networks.py": {"BatchNorm": "asks whether there is a layer to probe"},
}
"""Where code under src/bnblind names a norm to decide something, and why it may."""


def names_of_norms() -> set[str]:
    """In the configuration and as classes."""
    return {*norm_names(), *(norm_class(name).__name__ for name in norm_names())}


def literals(node: ast.AST) -> list[object]:
    """The values that stand literally in an expression, alone or as entries."""
    entries = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return [entry.value for entry in entries if isinstance(entry, ast.Constant)]


def told_by_name(code: str) -> list[str]:
    """What tells norms apart by name: comparisons with a norm's name, alone or among others, or
    with how some begin; collections of names; and classes of norms, whose facts can be asked for
    without them.
    """
    names, found = names_of_norms(), []
    modules = {norm_module(name) for name in norm_names()}
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Compare():
                values = [v for side in (node.left, *node.comparators) for v in literals(side)]
                tells = not names.isdisjoint(values)
            case ast.MatchValue():
                tells = not names.isdisjoint(literals(node.value))
            case ast.Tuple() | ast.List() | ast.Set():
                tells = len(node.elts) > 1 and names.issuperset(literals(node) or [None])
                tells = tells and len(literals(node)) == len(node.elts)
            case ast.Call(func=ast.Attribute(attr="startswith"), args=[start]):
                starts = [start for start in literals(start) if isinstance(start, str)]
                tells = any(name.startswith(start) for name in norm_names() for start in starts)
            case ast.Call(func=ast.Name(id="norm_class"), args=[name]):
                tells = bool(literals(name))
            case ast.ImportFrom(module=module) if module in modules:
                found += [alias.name for alias in node.names]
                continue
            case ast.Import() | ast.ImportFrom(module="bnblind.norms"):
                whole = [f"bnblind.norms.{alias.name}" for alias in node.names]
                tells = not modules.isdisjoint([*whole, *(alias.name for alias in node.names)])
            case _:
                continue
        if tells:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("norm == 'in'", ["norm == 'in'"]),
        ("'ln' != cell.norm", ["'ln' != cell.norm"]),
        ("norm in ('bn', other)", ["norm in ('bn', other)"]),
        ("norm not in {'gn'}", ["norm not in {'gn'}"]),
        ("'bn' in norms", ["'bn' in norms"]),
        ("type(layer).__name__ == 'LayerNorm'", ["type(layer).__name__ == 'LayerNorm'"]),
        ("match norm:\n    case 'in':\n        pass", ["'in'"]),
        ("WITHIN = ['ln', 'gn']", ["['ln', 'gn']"]),
        ("norm.startswith('bn_')", ["norm.startswith('bn_')"]),
        ("isinstance(layer, norm_class('in'))", ["norm_class('in')"]),
        ("from bnblind.norms.ln import LayerNorm\nisinstance(x, LayerNorm | A)", ["LayerNorm"]),
        ("from bnblind.norms import in_", ["from bnblind.norms import in_"]),
        ("import bnblind.norms.ln as ln", ["import bnblind.norms.ln as ln"]),
        ("norm == other or norm in norms or mode == 'label' or n in (1, 'x')", []),
        ("LOOKS['bn'], {'bn': 1, 'ln': 2}, ['bn', *norms], ('x', 'bn'), f('in'), ()", []),
        ("from bnblind.norms import Norm\nfrom bnblind.norms.base import Norm", []),
        ("norm_class(name), name.startswith('_'), name.startswith(prefix)", []),
    ],
)
def test_norms_told_by_name_are_seen(code: str, expected: list[str]) -> None:
    assert told_by_name(code) == expected


def test_only_the_norms_tell_what_they_are() -> None:
    """Elsewhere, facts about norms are asked for; what is left has a reason, and is still there."""
    source = ROOT / "src/bnblind"
    files = [file for file in tracked("src/*.py") if "norms" not in file.parts]
    found = {
        str(file.relative_to(source)): {*told_by_name(file.read_text())}
        for file in files
        if file.name != "norm_facts.py"
    }
    assert {file: told for file, told in found.items() if told} == {
        file: {*reasons} for file, reasons in TOLD.items()
    }


def test_docs_hold_documents() -> None:
    """Beside one of them the tries that it sums up, and what the site of them needs."""
    others = {file.name for file in tracked("docs") if file.suffix not in (".md", ".svg")}
    assert others == {"faults.json", "requirements.lock", "site.css"}


def test_notebooks_write_no_path_of_a_figure() -> None:
    """They ask their experiment's declaration."""
    for notebook in tracked("notebooks"):
        cells = json.loads(notebook.read_text())["cells"]
        code = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        assert "EXPERIMENT.stem(" in code
        assert code.count("publish_figure(") == code.count("EXPERIMENT.stem("), notebook
