"""Executed notebooks: what differs from run to run is removed, what was found stays."""

import re
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from bnblind.errors import BadInput
from bnblind.figures.typesetting import SPACE
from bnblind.pipeline.steps import reading, render
from bnblind.pipeline.steps.notebook import execute, normalize
from tests.steps.conftest import call

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


def page_of(folder: Path, notebook: NotebookNode, glossary: str = "# Glossary") -> str:
    """Its page, with the glossary beside it."""
    executed, terms = folder / "0.ipynb", folder / "glossary.md"
    terms.write_text(glossary)
    nbformat.write(notebook, executed)
    around = {"adopted": "{}", "before": "null", "after": '["next", "What follows"]'}
    call(render, **around, executed=executed, terms=terms, page=folder / "0.html")
    others = {name: folder / f"{name}.html" for name in ("glossary", "explorable")}
    call(reading, terms=terms, **others)
    return (folder / "0.html").read_text()


def written(*sources: str) -> NotebookNode:
    """A notebook of prose."""
    cells = [nbformat.v4.new_markdown_cell(source) for source in ("# A title", *sources)]
    return nbformat.v4.new_notebook(cells=cells)


TERMS = """# Glossary

## Words

- **Purity, label-pure**: a share, [theory.md](theory.md).
- **Mean share**: $\\bar{g}^2$.
- **Row**: a line.
"""


def test_the_first_use_of_a_term_leads_to_the_glossary(tmp_path: Path) -> None:
    """In running text, whatever its case and number; not in headings, code or other links."""
    uses = "`purity` [purity](https://a.org) Purities, mean shares; label-pure mean share row"
    page = page_of(tmp_path, written(f"## Purity\n\n{uses}"), glossary=TERMS)
    found = re.findall('<a class="term" href="glossary.html#([a-z-]*)">(.*?)</a>', page)
    assert found == [("mean-share", "mean shares"), ("purity-label-pure", "label-pure")]
    glossary = (tmp_path / "glossary.html").read_text()
    assert (
        '<li id="purity-label-pure"><dfn>Purity, label-pure</dfn>: a share, theory.md.' in glossary
    )
    assert "<math " in glossary


def test_formulas_are_mathml_and_long_pages_list_their_contents(tmp_path: Path) -> None:
    headings = ["## The same", "## The same", "## A $\\sigma$ & more"]
    page = page_of(tmp_path, written("Inline $a < b$\n\n$$\n\\frac{1}{2}\n$$", *headings))
    assert page.count("<math ") == 3
    assert 'display="block"' in page
    assert "$" not in page.partition("<main")[2]
    names = ["the-same", "the-same-2", "a-more"]
    assert re.findall('<li><a href="#(.*?)">', page) == names
    assert re.findall('<h2 id="(.*?)">', page) == names
    assert 'class="contents"' in page_of(tmp_path, written(*headings[:2]))
    assert 'class="contents"' not in page_of(tmp_path, written(headings[0]))


def test_cells_of_tables_hold_numbers_as_books_print_them(tmp_path: Path) -> None:
    cells = "| x | y |\n|---|---|\n| -0.00 (-0.1 to 0.2) | &lt;= 1e-05 &amp; x-1 |"
    page = page_of(tmp_path, written(cells)).replace(SPACE, " ")
    assert "<td>0.00 (−0.1 to 0.2)</td>" in page
    assert "<td>≤ 10⁻⁵ &amp; x-1</td>" in page


@pytest.mark.starts_interpreter
def test_two_executions_are_the_same_bytes(executed: list[NotebookNode]) -> None:
    first, second = executed
    assert nbformat.writes(first) == nbformat.writes(second)
    nbformat.validate(first)


@pytest.mark.starts_interpreter
def test_what_was_found_stays(executed: list[NotebookNode], tmp_path: Path) -> None:
    first, _ = executed
    outputs = [cell.outputs for cell in first.cells if cell.cell_type == "code"]
    (stream,) = next(o for o in outputs if o)
    assert stream.text == "hello\nworld\n"
    (table,) = outputs[-1]
    assert set(table.data) == {"text/html"}

    page = page_of(tmp_path, first)
    assert "<title>A title" in page
    assert "world" in page
    assert "<th>a</th>" in page
    folded = re.compile(r'<details class="code"><summary>Code: cell \[(\d)\].*?</details>', re.S)
    assert [found[1] for found in folded.finditer(page)] == ["3", "4", "5"]
    assert "sys.stdout" in page
    assert "sys.stdout" not in folded.sub("", page), "code is folded up"
    assert "http://" not in page


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
