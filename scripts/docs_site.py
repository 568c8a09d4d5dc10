"""What mkdocs.yml cannot say of the site of the documents; MkDocs calls the functions ``on_...``.

The documents are written for a reader of the repository, who follows links to source files and to
the READMEs of other folders. In the site, which stands on its own, each file that is linked has a
page, formulas are MathML, and the references are made from docstrings and help texts. At the end
every link of every page is followed, and no page may ask another host for anything.
"""

import ast
import html
import io
import os
import posixpath
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import unquote, urljoin, urlsplit

sys.path.insert(0, "src")

from bnblind.__main__ import COMMANDS, main
from bnblind.norm_facts import norm_facts, norm_files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

DOCS = PurePosixPath("docs")
PLACES = {
    "config/README.md": "reference/configuration.md",
    "data/README.md": "reference/data.md",
    "reports/README.md": "reference/report.md",
    "proofs/README.md": "reference/proofs.md",
}
"""Pages of the repository that have a place of their own in the site."""

LINK = re.compile(r"(?<=\]\()[^()\s]+(?=\))")
FENCED = re.compile(r"^( *)(```|~~~).*?^\1\2$", re.DOTALL | re.MULTILINE)
LANGUAGES = {".py": "python", ".v": "coq", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}

EXTENDED = (
    "bnblind.pipeline.declaration",
    "bnblind.pipeline.configuration.keys",
    "bnblind.experiments.batching",
    "bnblind.experiments.networks.models",
    "bnblind.experiments.networks.losses",
    "bnblind.experiments.optimizers",
    "bnblind.experiments.preparation",
    "bnblind.experiments.synthetic",
    "bnblind.experiments.flows.realnvp",
    "bnblind.experiments.flows.coupling_norms",
)
"""The modules in which the recipes of docs/extending.md add something."""


# Links: what a document links to is a page of the site.


def is_of_the_repository(link: str) -> bool:
    return not (urlsplit(link).scheme or link.startswith(("#", "/")))


def outside_fences(change: Callable[[str], str], markdown: str) -> str:
    """The text, changed everywhere but in its fenced code."""
    parts, end = [], 0
    for fence in FENCED.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])


def target(link: str, source: PurePosixPath) -> str:
    """The file of the repository to which a link in the file ``source`` leads."""
    return posixpath.normpath(source.parent / link.partition("#")[0])


def place(file: str) -> str:
    """Where a file of the repository stands in the site's sources: ``docs/`` is their root."""
    if file in PLACES:
        return PLACES[file]
    if PurePosixPath(file).is_relative_to(DOCS):
        return str(PurePosixPath(file).relative_to(DOCS))
    return f"repository/{file.lstrip('.').removesuffix('.md')}.md"  # MkDocs leaves out .NAME


def linked(markdown: str, source: PurePosixPath) -> Iterator[str]:
    """The files of the repository, outside ``docs/``, to which a document links."""
    for link in LINK.findall(FENCED.sub("", markdown)):
        if is_of_the_repository(link):
            file = target(link, source)
            if not PurePosixPath(file).is_relative_to(DOCS) and Path(file).is_file():
                yield file


def with_links(markdown: str, source: PurePosixPath) -> str:
    """The document with its links leading to where the files stand in the site; a link to a folder
    becomes its name.
    """
    here = posixpath.dirname(place(str(source)))

    def moved(match: re.Match[str]) -> str:
        if not is_of_the_repository(link := match[0]):
            return link
        _, hash_sign, anchor = link.partition("#")
        to = posixpath.relpath(place(target(link, source)), here or ".")
        return f"{to}{hash_sign}{anchor}"

    def without_folders(match: re.Match[str]) -> str:
        of_folder = is_of_the_repository(match[2]) and Path(target(match[2], source)).is_dir()
        return f"`{target(match[2], source)}/`" if of_folder else match[0]

    def change(text: str) -> str:
        text = re.sub(r"\[([^\]]*)\]\(([^()\s]+)\)", without_folders, text)
        return LINK.sub(moved, text)

    return outside_fences(change, markdown)


def with_wide_lists(markdown: str) -> str:
    """The document with what belongs to a list's entry indented by four, as Python-Markdown asks;
    GitHub asks for two.
    """
    lines: list[str] = []
    open_entries: list[int] = []  # where the texts of the entries around a line begin
    for line in markdown.split("\n"):
        indent = len(line) - len(line.lstrip())
        if line.strip():
            open_entries = [inner for inner in open_entries if indent >= inner]
        wider = 4 * len(open_entries) - (open_entries[-1] if open_entries else 0)
        lines.append(" " * wider + line if line.strip() else line)
        if entry := re.match(r" *(?:-|\d+\.) +", line):
            open_entries.append(len(entry[0]))
    return "\n".join(lines)


def page_of_source(file: str) -> str:
    """A source file as a page."""
    language = LANGUAGES.get(PurePosixPath(file).suffix, "text")
    text = Path(file).read_text(encoding="utf-8")
    unsearched = "---\nsearch: { exclude: true }\nhide: [navigation, toc]\n---\n"
    return (
        f"{unsearched}# {PurePosixPath(file).name}\n\n`{file}`\n\n~~~~~ {language}\n{text}\n~~~~~\n"
    )


# The references.


def summary(file: Path) -> str:
    """The first sentence of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=[.:])\s|\n\n", docstring, maxsplit=1)[0].replace("\n", " ").rstrip(":")


def public_names() -> list[str]:
    """``bnblind.__all__``, without importing what it names."""
    for node in ast.parse(Path("src/bnblind/__init__.py").read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=names):
                return [*ast.literal_eval(names)]
    raise AssertionError("bnblind states no __all__")


def library_page() -> str:
    lines = [
        "# Library",
        "",
        "All that `import bnblind` offers; a guided tour is [here](../library.md). Words such as",
        "passing share: [glossary](../glossary.md). T1 to T7: [theory](../theory.md).",
    ]
    for name in public_names():
        lines += ["", f"::: bnblind.{name}"]
    return "\n".join([*lines, "", "::: bnblind.losses", ""])


def first_paragraph(node: ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")


def norms_page() -> str:
    """The variants with their facts, then the base class."""
    lines = [
        "# Norms",
        "",
        "A name in a profile, for `build_norm` and for `swap_norm` is the name of a file in",
        "`src/bnblind/norms`. What the three facts say stands at `Norm` below; a new norm is",
        "[one file](../extending.md#a-norm).",
        "",
        "| name | what it is | within a sample | needs positions | control |",
        "| --- | --- | --- | --- | --- |",
    ]
    facts = norm_facts()
    for name, file in norm_files().items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        (variant,) = [node for node in tree.body if isinstance(node, ast.ClassDef)][-1:]
        told = re.sub(r"^``[^`]+``: ", "", first_paragraph(variant))
        of = facts[name]
        words = ["yes" if fact else "" for fact in (of.within_sample, of.needs_positions)]
        control = "yes" if of.control else ""
        lines.append(f"| `{name}` | {told} | {' | '.join(words)} | {control} |")
    return "\n".join([*lines, "", "::: bnblind.norms", ""])


def extending_page() -> str:
    lines = [
        "# Places to extend",
        "",
        "The modules in which [the recipes](../extending.md) add something.",
    ]
    for module in EXTENDED:
        lines += ["", f"::: {module}"]
    return "\n".join([*lines, ""])


def modules_page() -> str:
    """Every module with its first sentence, by package."""
    lines = [
        "# Modules",
        "",
        "A map of the code. Imports run one way: the library (`bnblind`), the experiments, the",
        "pipeline and the figures, the reviewer's commands.",
    ]
    root = Path("src")
    for package in sorted(root.glob("bnblind/**/__init__.py")):
        name = ".".join(package.parent.relative_to(root).parts)
        lines += ["", f"## {name}", "", summary(package), ""]
        modules = [file for file in sorted(package.parent.glob("*.py")) if file != package]
        if modules:
            lines += ["| module | what it is |", "| --- | --- |"]
            lines += [f"| `{file.stem}` | {summary(file)} |" for file in modules]
    return "\n".join([*lines, ""])


def help_of(*words: str) -> str:
    """What a command says of itself, in lines of 88 characters."""
    said = io.StringIO()
    with patch.dict(os.environ, COLUMNS="88"), redirect_stdout(said), suppress(SystemExit):
        main([*words, "--help"])
    return said.getvalue()


def commands_page() -> str:
    lines = ["# Command line", "", "What each command says of itself. In context:"]
    lines += ["[checking a run](../trust.md), [probing a model](../library.md).", ""]
    for words in ([], *([name] for name in COMMANDS)):
        lines += [f"## {' '.join(['bnblind', *words])}", "", "```text", help_of(*words) + "```", ""]
    return "\n".join(lines)


MADE = {
    "reference/library.md": library_page,
    "reference/norms.md": norms_page,
    "reference/extending.md": extending_page,
    "reference/modules.md": modules_page,
    "reference/commands.md": commands_page,
}


# What MkDocs calls.


def on_config(config: "MkDocsConfig") -> None:
    """Where the site is published, the report lies above it."""
    if config.site_url and config.nav:
        config.nav.append({"Report": urljoin(config.site_url, "../")})


def on_files(files: "Files", config: "MkDocsConfig") -> None:
    """Add the references and all files that the documents link to."""
    from mkdocs.structure.files import File

    def add(uri: str, content: str) -> None:
        files.append(File.generated(config, uri, content=content))

    for uri, make in MADE.items():
        add(uri, make())
    texts = {str(DOCS / uri.src_uri): uri.content_string for uri in files.documentation_pages()}
    waiting = [*PLACES]
    for file, text in texts.items():
        waiting += linked(text, PurePosixPath(file))
    done: set[str] = set()
    while waiting:
        if (file := waiting.pop()) in done:
            continue
        done.add(file)
        if file.endswith(".md"):
            text, source = Path(file).read_text(encoding="utf-8"), PurePosixPath(file)
            waiting += linked(text, source)
            add(place(file), with_wide_lists(with_links(text, source)))
        else:
            add(place(file), page_of_source(file))


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    if page.file.generated_by:
        return markdown
    return with_wide_lists(with_links(markdown, DOCS / page.file.src_uri))


def with_formulas(content: str) -> str:
    """The page with its TeX as MathML, which browsers show without a script."""
    from latex2mathml.converter import convert

    def converted(match: re.Match[str]) -> str:
        display = "block" if match[1] == "div" else "inline"
        formula = convert(html.unescape(match[2]).strip(), display=display)
        return formula.replace("<mo>&#x02016;", '<mo stretchy="false">&#x02016;')  # of lengths

    tex = r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>'
    return re.sub(tex, converted, content, flags=re.DOTALL)


def with_references(content: str, root: str) -> str:
    """The page with the roles of docstrings, and the documents that these name, as links; without
    the colons that introduce a docstring's code.
    """

    def reference(match: re.Match[str]) -> str:
        if not match[1].startswith("bnblind."):
            return f"<code>{match[1]}</code>"
        return f'<autoref identifier="{match[1]}" optional><code>{match[1]}</code></autoref>'

    content = re.sub(r"<p>::</p>\n", "", content)
    content = re.sub(r'::(?=</p>\n<div class="highlight)', ":", content)
    content = re.sub(r":(?:func|class|mod|meth):<code>([\w.]+)</code>", reference, content)
    return re.sub(
        r"(?<![\w/])docs/(\w+)\.md(?![^<]*</(?:code|a)>)",
        rf'<a href="{root}\1.html">\1</a>',
        content,
    )


def on_page_content(html: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    content = with_formulas(html)
    if page.file.src_uri in MADE:
        content = with_references(content, "../")
    return content


def on_post_build(config: "MkDocsConfig") -> None:
    if wrong := problems(Path(config.site_dir)):
        from mkdocs.exceptions import PluginError

        raise PluginError("\n".join([f"{len(wrong)} problems in the pages:", *wrong]))


# The pages as they are.


class Links(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    LOADED: Mapping[str, str] = {
        **dict.fromkeys(("script", "img", "iframe", "source", "video", "audio", "embed"), "src"),
        "object": "data",
    }

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, Any]]) -> None:
        given = dict(attributes)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "link":
            canonical = given.get("rel") in ("canonical", "next", "prev", "alternate")
            (self.links if canonical else self.loaded).append(given.get("href", ""))
        elif tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif (name := self.LOADED.get(tag)) and given.get(name):
            self.loaded.append(given[name])


def problems(site: Path) -> list[str]:
    """Links that lead nowhere, and what pages load from other hosts."""
    pages = {
        file.resolve(): Links(file.read_text(encoding="utf-8"))
        for file in sorted(site.rglob("*.html"))
        if file.name != "404.html"  # its links begin at the root of the host
    }
    found = []
    for file, page in pages.items():
        name = file.relative_to(site.resolve())
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    found.append(f"{name} loads {link}")
                continue
            to = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not to.exists():
                found.append(f"{name} links to {link}, which is missing")
            elif to in pages and not pages[to].anchors >= {
                *filter(None, [unquote(parts.fragment)])
            }:
                found.append(f"{name} links to {link}, where there is no such heading")
    for sheet in sorted(site.rglob("*.css")):
        for link in re.findall(r"url\(\s*['\"]?(https?:[^)'\"]+)", sheet.read_text("utf-8")):
            found.append(f"{sheet.relative_to(site)} loads {link}")
    return found
