"""Executed notebooks: what differs from run to run is removed, what was found stays."""

import tempfile
from pathlib import Path

import nbformat
import pytest

from bnblind.errors import BadInput
from bnblind.pipeline.notebook import execute, normalize, render, title_of


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    parameters = nbformat.v4.new_code_cell("who = 'nobody'", metadata={"tags": ["parameters"]})
    cells = [
        nbformat.v4.new_markdown_cell("# A title\n\nText."),
        parameters,
        nbformat.v4.new_code_cell(
            "import sys\nprint('hello'); sys.stdout.flush(); print(who)\n"
            "print('noise', file=sys.stderr)"
        ),
        nbformat.v4.new_code_cell("import pandas\npandas.DataFrame({'a': [1]})"),
    ]
    path = tmp_path / "n.ipynb"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    stored = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}}
    )
    nbformat.write(stored, path)
    return path


def test_two_executions_are_the_same_bytes(notebook: Path) -> None:
    first, second = (normalize(execute(notebook, {"who": "world"})) for _ in range(2))
    assert nbformat.writes(first) == nbformat.writes(second)
    assert render(first, "t") == render(second, "t")
    nbformat.validate(first)

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


def test_a_failing_cell_is_named(notebook: Path) -> None:
    content = notebook.read_text().replace("pandas.DataFrame", "pandas.NoFrame")
    notebook.write_text(content)
    with pytest.raises(BadInput, match="NoFrame"):
        execute(notebook, {"who": "world"})


@pytest.mark.parametrize("folder", ["t", "t" * 90])
def test_the_kernel_listens_on_no_port(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Free ports are anyone's until they are bound; a socket's path must not be long."""
    (tmp_path / folder).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / folder))
    stored = nbformat.read(notebook, as_version=4)
    stored.cells[-1].source = (
        "from ipykernel.connect import get_connection_info\n"
        "print(get_connection_info(unpack=True)['transport'])"
    )
    nbformat.write(stored, notebook)
    executed = execute(notebook, {"who": "world"})
    assert executed.cells[-1].outputs[0].text == "ipc\n"
