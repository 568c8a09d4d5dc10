"""Markdown, executed notebooks and the glossary as HTML that needs no script and no other file."""

import re
from collections.abc import Iterator, Mapping
from html import escape, unescape

import mistune
from latex2mathml.converter import convert
from nbformat import NotebookNode

from bnblind.figures.typesetting import typeset

Contents = list[tuple[str, str]]
"""Anchor and text of the headings of second and third order."""

_BOX = '<div class="scroll" tabindex="0" role="group"'
_ORDINARY = {"cell", "feed", "grid", "in", "job", "networks", "round", "row"}
"""Terms that pages use as plain words, too; their uses are not linked."""
_TERM = re.compile(r"^- \*\*([^*]+)\*\*:", re.MULTILINE)


def anchor(text: str) -> str:
    """The name by which a link finds it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class _Html(mistune.HTMLRenderer):
    """Headings with anchors, formulas as MathML; links within the repository as plain text, since
    the report is read without it.
    """

    def __init__(self) -> None:
        super().__init__(escape=False)
        self.anchors: dict[str, int] = {}
        self.contents: Contents = []

    def heading(self, text: str, level: int, **attrs: object) -> str:
        plain = unescape(re.sub("<[^>]*>", "", text))
        name = anchor(plain)
        self.anchors[name] = number = self.anchors.get(name, 0) + 1
        name += f"-{number}" if number > 1 else ""
        if level in (2, 3):
            self.contents.append((name, plain))
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def inline_math(self, text: str) -> str:
        return convert(text)

    def block_math(self, text: str) -> str:
        return convert(text, display="block")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, url, title) if url.startswith("https:") else text


def _parts(notebook: NotebookNode, markdown: mistune.Markdown) -> Iterator[str]:
    """Prose and results of the cells; the code behind a result folded up below it."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield str(markdown(cell.source))
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text", "")})
            if "text/html" in data:
                yield data["text/html"]
            elif "text/markdown" in data:
                yield str(markdown(data["text/markdown"]))
            else:
                yield f"<pre>{escape(data['text/plain'])}</pre>"
        if cell.get("outputs"):
            code = f"<pre>{escape(cell.source)}</pre>"
            where = f"cell [{cell.execution_count}] of the notebook"
            yield f'<details class="code"><summary>Code: {where}</summary>{code}</details>'


def body_of(notebook: NotebookNode) -> tuple[str, Contents]:
    """The page's text; its contents."""
    renderer = _Html()
    markdown = mistune.create_markdown(renderer=renderer, plugins=["math", "table"])
    body = "\n".join(_parts(notebook, markdown))
    # pandas numbers every cell of a table for styles that we do not give it.
    body = re.sub(r'<style type="text/css">\s*</style>\s*', "", body)
    body = re.sub(r' (id="T_[^"]*"|class="(data|col_heading|blank)[^"]*")', "", body)
    body = body.replace('<div class="scroll">', f'{_BOX} aria-label="Figure">')
    body = re.sub(r"<table\b", rf'{_BOX} aria-label="Table"><table', body)
    body = re.sub(
        r"(<td[^>]*>)([^<]*)(?=</td>)",
        lambda cell: cell[1] + escape(typeset(unescape(cell[2])), quote=False),
        body,
    )
    return re.sub(r"</table>", "</table></div>", body), renderer.contents


def glossary_of(text: str) -> tuple[str, Contents, dict[str, str]]:
    """Of the glossary, Markdown: its page, the contents, and the anchor of each term."""
    renderer = _Html()
    body = str(mistune.create_markdown(renderer=renderer, plugins=["math"])(text))
    body = re.sub(
        r"<li><strong>(.*?)</strong>",
        lambda term: f'<li id="{anchor(term[1])}"><dfn>{term[1]}</dfn>',
        body,
    )
    terms = {
        term.lower(): anchor(together)
        for together in _TERM.findall(text)
        for term in together.split(", ")
        if term.lower() not in _ORDINARY
    }
    return body, renderer.contents, terms


def with_terms(body: str, terms: Mapping[str, str], glossary: str = "glossary.html") -> str:
    """The HTML in which the first use of each term leads to the glossary."""
    left = dict.fromkeys(terms.values(), True)
    words = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
    # Headings, captions, code, formulas and what can be chosen stay as they are.
    other = r"<(a|code|pre|math|h\d|table|figure|label|dl)\b.*?</\1>|<[^>]*>"

    def linked(found: re.Match[str]) -> str:
        name = terms.get((found[2] or "").lower(), "")
        if not left.pop(name, False):
            return found[0]
        return f'<a class="term" href="{glossary}#{name}">{found[0]}</a>'

    return re.sub(rf"{other}|\b({words})s?\b", linked, body, flags=re.DOTALL | re.IGNORECASE)
