"""Which of the project's own files a step or notebook depends on, found without running it.

Snakemake sees only the files a rule names. A rule names this closure as its input, so that
editing a module reruns the steps that import it, however indirectly, and no others.
"""

import ast
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "bnblind"


def _code(path: Path) -> str:
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def _statements(tree: ast.AST, typing_too: bool) -> Iterator[ast.stmt]:
    """All statements; those under ``if TYPE_CHECKING`` do not run and count only on request."""
    for node in ast.iter_child_nodes(tree):
        guard = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if guard and not typing_too:
            continue
        if isinstance(node, ast.stmt):
            yield node
        yield from _statements(node, typing_too)


@cache
def imported_modules(path: Path, typing_too: bool = False) -> frozenset[str]:
    """Dotted names that the file imports from the package; of ``from a import b``, a.b too."""
    names: set[str] = set()
    for node in _statements(ast.parse(_code(path), str(path)), typing_too):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name for name in names if name.split(".")[0] == PACKAGE)


@cache
def _files_of(name: str, source: Path) -> frozenset[Path]:
    """The files that run when ``name`` is imported: its module and the packages around it."""
    parts = name.split(".")
    stems = (source.joinpath(*parts[: i + 1]) for i in range(len(parts)))
    candidates = {f for stem in stems for f in (stem.with_suffix(".py"), stem / "__init__.py")}
    return frozenset(file for file in candidates if file.is_file())


def _is_public_name(name: str, source: Path) -> bool:
    """Whether ``name`` is the package or an attribute of it, which it loads on first use."""
    depth = name.count(".")
    return depth == 0 or (depth == 1 and len(_files_of(name, source)) == 1)


def import_closure(entries: Iterable[str], source: str = "src") -> list[str]:
    """The given files and every file of the package under ``source`` that they import."""
    root = Path(source)
    public = root / PACKAGE / "__init__.py"
    found: set[Path] = set()
    waiting = {Path(entry) for entry in entries}
    while waiting:
        path = waiting.pop()
        found.add(path)
        names = set(imported_modules(path))
        if any(_is_public_name(name, root) for name in names):
            names |= imported_modules(public, typing_too=True)
        if path.is_relative_to(root):
            names.add(".".join(path.relative_to(root).with_suffix("").parts))
        for name in names:
            waiting |= _files_of(name, root) - found
    return sorted(map(str, found))
