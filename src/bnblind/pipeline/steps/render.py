"""Step: the page of an executed notebook."""

import nbformat
from nbformat import NotebookNode

from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.pages import fill
from bnblind.pipeline.formats.prose import body_of, glossary_of, with_terms
from bnblind.pipeline.options import parse


def title_of(notebook: NotebookNode) -> str:
    return next(
        line.removeprefix("# ")
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    )


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, settings="adopted before after", file="terms executed page")
    notebook = nbformat.read(args.executed, as_version=4)
    _, _, terms = glossary_of(args.terms.read_text(encoding="utf-8"))
    body, contents = body_of(notebook)
    page = fill(
        "page.html.j2",
        name=args.page.stem,
        title=title_of(notebook),
        body=with_terms(body, terms),
        contents=contents,
        adopted=args.adopted,
        before=args.before,
        after=args.after,
    )
    publish({args.page: page})
