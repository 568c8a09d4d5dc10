"""Executed notebooks: what differs from run to run is removed, what was found stays."""

import tempfile
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from bnblind.errors import BadInput
from bnblind.pipeline.steps.notebook import execute, normalize, render, title_of

TRANSPORT = (
    "from ipykernel.connect import get_connection_info\n"
    "print(get_connection_info(unpack=True)['transport'])"
)


def write_notebook(path: Path) -> Path:
    parameters = nbformat.v4.new_code_cell("who = 'nobody'", metadata={"tags": ["parameters"]})
    cells = [
        nbformat.v4.new_markdown_cell("# A title\n\nText."),
        parameters,
        nbformat.v4.new_code_cell(
            "import sys\nprint('hello'); sys.stdout.flush(); print(who)\n"
            "print('noise', file=sys.stderr)"
        ),
        nbformat.v4.new_code_cell(TRANSPORT),
        nbformat.v4.new_code_cell("import pandas\npandas.DataFrame({'a': [1]})"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    stored = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}}
    )
    nbformat.write(stored, path)
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return write_notebook(tmp_path / "n.ipynb")


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> list[NotebookNode]:
    """The notebook executed twice, normalized; the folder for temporary files has a short path,
    and one that is too long for a socket's.
    """
    folder = tmp_path_factory.mktemp("n")
    notebook = write_notebook(folder / "n.ipynb")
    found = []
    for name in ("t", "t" * 90):
        (folder / name).mkdir()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(tempfile, "tempdir", str(folder / name))
            found.append(normalize(execute(notebook, {"who": "world"})))
    return found


@pytest.mark.starts_interpreter
def test_two_executions_are_the_same_bytes(executed: list[NotebookNode]) -> None:
    first, second = executed
    assert nbformat.writes(first) == nbformat.writes(second)
    assert render(first, "t") == render(second, "t")
    nbformat.validate(first)


@pytest.mark.starts_interpreter
def test_what_was_found_stays(executed: list[NotebookNode]) -> None:
    first, _ = executed
    outputs = [cell.outputs for cell in first.cells if cell.cell_type == "code"]
    (stream,) = next(o for o in outputs if o)
    assert stream.text == "hello\nworld\n"
    (table,) = outputs[-1]
    assert set(table.data) == {"text/html"}

    page = render(first, title_of(first)).decode()
    assert "<title>A title" in page
    assert "world" in page
    assert "sys.stdout" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_other_parameters_than_the_notebooks_are_refused(notebook: Path) -> None:
    with pytest.raises(BadInput, match="needs exactly the parameters who; found whom"):
        execute(notebook, {"whom": "world"})
    with pytest.raises(BadInput, match="found none"):
        execute(notebook, {})


@pytest.mark.starts_interpreter
def test_a_failing_cell_is_named(notebook: Path) -> None:
    content = notebook.read_text().replace("hello'); sys.stdout", "hello'); sys.nothing")
    notebook.write_text(content)
    with pytest.raises(BadInput, match="has no attribute 'nothing'"):
        execute(notebook, {"who": "world"})


@pytest.mark.starts_interpreter
@pytest.mark.parametrize("number", [0, 1])
def test_the_kernel_listens_on_no_port(executed: list[NotebookNode], number: int) -> None:
    """Free ports are anyone's until they are bound; a socket's path must not be long."""
    (stream,) = next(cell.outputs for cell in executed[number].cells if cell.source == TRANSPORT)
    assert stream.text == "ipc\n"
