"""What the structure of the code promises: public interfaces only, and one place for each thing."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

NAME = b"linear" + b"_signal"  # so that this file is not among those that it counts
ENGINES = ("snakemake", "dvc", "papermill")
PUBLIC = {"snakemake.utils": {"min_version"}, "papermill": None}
"""What may be imported of them; None: any name that has no underscore."""


def tracked(*patterns: str) -> list[Path]:
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns)
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()]


def imports(text: str) -> Iterator[tuple[str, list[str]]]:
    """Modules that Python or Snakemake code imports, and the names it takes of them."""
    for line in re.findall(r"^\s*(?:from|import) .*?(?:\(.*?\)|$)", text, re.DOTALL | re.MULTILINE):
        for node in ast.parse(line.strip()).body:
            if isinstance(node, ast.Import):
                yield from ((alias.name, []) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or "", [alias.name for alias in node.names]


def private_uses(text: str) -> list[str]:
    """What the code takes of the workflow engines beside their public names."""
    found = []
    for module, names in imports(text):
        if module.split(".")[0] in ENGINES:
            allowed = PUBLIC.get(module, set())
            odd = [
                n for n in names if n.startswith("_") or (allowed is not None and n not in allowed)
            ]
            found += [module] if module not in PUBLIC else [f"{module}.{name}" for name in odd]
    # Objects that Snakemake hands to a Snakefile.
    found += re.findall(r"\b(?:workflow|rules|dag)\._\w+", text)
    return found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from snakemake.utils import min_version", []),
        ("from snakemake.jobs import Job\n\nJob.postprocess = None", ["snakemake.jobs"]),
        ("import papermill", []),
        ("from papermill import _x", ["papermill._x"]),
        ("import dvc.repo", ["dvc.repo"]),
        ("x = workflow._settings", ["workflow._settings"]),
    ],
)
def test_private_uses_are_seen(code: str, expected: list[str]) -> None:
    assert private_uses(code) == expected


def test_no_private_name_of_the_workflow_engines_is_used() -> None:
    files = tracked("*.py", "*.smk", "Snakefile", "workflow/Snakefile")
    assert len(files) > 100
    code = [file for file in files if file != Path(__file__)]
    found = {str(file.relative_to(ROOT)): private_uses(file.read_text()) for file in code}
    assert {file: names for file, names in found.items() if names} == {}


def test_an_experiment_is_named_in_few_files() -> None:
    """The toy task, outside data, locks and generated text: what declares, computes and shows it,
    the profiles and claims, and its tests.
    """
    generated = {"README.md", "config/README.md", "profiles/usage.yaml"}
    naming = {
        str(file.relative_to(ROOT))
        for file in tracked()
        if file.suffix not in (".svg", ".lock")
        and file.parent.name != "data"
        and NAME in file.read_bytes()
    }
    assert len(naming - generated) <= 12, sorted(naming)


def test_only_the_norms_tell_what_they_are() -> None:
    """Facts about norms are asked for, not told by names elsewhere."""
    elsewhere = [file for file in tracked("src/*.py") if "norms" not in file.parts]
    told = re.compile(r"startswith\([\"']bn_|== [\"']in[\"']|WITHIN_SAMPLE|\(LayerNorm, ")
    assert not [file for file in elsewhere if told.search(file.read_text())]


def test_docs_hold_documents() -> None:
    assert {file.suffix for file in tracked("docs")} <= {".md", ".svg"}


def test_notebooks_write_no_path_of_a_figure() -> None:
    """They ask their experiment's declaration."""
    for notebook in tracked("notebooks"):
        cells = json.loads(notebook.read_text())["cells"]
        code = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        assert "EXPERIMENT.stem(" in code
        assert code.count("publish_figure(") == code.count("EXPERIMENT.stem("), notebook
