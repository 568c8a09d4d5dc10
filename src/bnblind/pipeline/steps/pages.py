"""Step: the pages of the report: what each notebook has found, the glossary, and T4 to try."""

import nbformat
from nbformat import NotebookNode

from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.pages import fill
from bnblind.pipeline.formats.prose import body_of, glossary_of, with_terms
from bnblind.pipeline.options import parse


def title_of(notebook: NotebookNode) -> str:
    """The first heading."""
    return next(
        line.removeprefix("# ")
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    )


def main(argv: list[str]) -> None:
    args = parse(
        __name__, argv, settings="adopted", file="terms glossary explorable", files="executed pages"
    )
    notebooks = [nbformat.read(path, as_version=4) for path in args.executed]
    order = [(path.stem, title_of(book)) for path, book in zip(args.pages, notebooks, strict=True)]
    neighbours = [None, *order, None]
    body, contents, terms = glossary_of(args.terms.read_text(encoding="utf-8"))
    made = {
        args.explorable: fill("explore.html.j2"),
        args.glossary: fill("glossary.html.j2", body=body, contents=contents),
    }
    for number, (page, notebook) in enumerate(zip(args.pages, notebooks, strict=True)):
        body, contents = body_of(notebook)
        made[page] = fill(
            "page.html.j2",
            name=page.stem,
            title=order[number][1],
            body=with_terms(body, terms),
            contents=contents,
            adopted=args.adopted[page.stem],
            before=neighbours[number],
            after=neighbours[number + 2],
        )
    publish(made)
    print(f"{len(made)} pages")
