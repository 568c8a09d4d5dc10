"""The norm variants' facts without the variants: planning a run imports no torch.

Read from the files' text, where each variant's class body states them as literals; what they
mean is said at :class:`bnblind.norms.Norm`.
"""

import ast
from dataclasses import dataclass, fields
from keyword import iskeyword
from pathlib import Path

from bnblind.errors import BadInput

FOLDER = Path(__file__).parent / "norms"


@dataclass(frozen=True)
class NormFacts:
    """Facts that a variant's class states; what it leaves out is False."""

    within_sample: bool = False
    needs_positions: bool = False
    control: bool = False


def norm_module(name: str) -> str:
    """The module that holds the variant ``name``, which may be a word of Python's own: ``in``."""
    return f"bnblind.norms.{name}_" if iskeyword(name) else f"bnblind.norms.{name}"


def norm_files() -> dict[str, Path]:
    """The file of every variant by its name in the configuration."""
    files = (f for f in sorted(FOLDER.glob("*.py")) if f.stem != "__init__")
    return {file.stem.removesuffix("_"): file for file in files}


def norm_facts() -> dict[str, NormFacts]:
    """The facts of every variant by its name in the configuration; raises BadInput if one is no
    literal True or False.
    """
    return {name: _stated(file) for name, file in norm_files().items()}


def _stated(file: Path) -> NormFacts:
    known = {fact.name for fact in fields(NormFacts)}
    facts = {}
    for node in ast.parse(file.read_text(encoding="utf-8"), str(file)).body:
        for statement in node.body if isinstance(node, ast.ClassDef) else ():
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=value)
                ) if name in known:
                    if not (isinstance(value, ast.Constant) and isinstance(value.value, bool)):
                        found = "nothing" if value is None else ast.unparse(value)
                        raise BadInput(f"{file}: {name} is {found}; allowed: True or False")
                    facts[name] = value.value
    return NormFacts(**facts)
