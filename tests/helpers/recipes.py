"""The recipes of docs/extending.md, followed to the letter in a clone."""

import re

from tests.helpers.clones import ROOT, Clone

WHERE = r"(?P<how>before|after|instead of|at the end)(?:\s`(?P<anchor>[^`]+)`)?"
STEP = re.compile(
    rf"^(?:New file `(?P<new>[^`]+)`|In `(?P<file>[^`]+)`,\s{WHERE}):\n\n```\w+\n(?P<text>.*?)```",
    re.DOTALL | re.MULTILINE,
)


def steps_of(recipe: str) -> list[re.Match[str]]:
    """The steps under the heading ``recipe``; every block of code there is one."""
    page = (ROOT / "docs/extending.md").read_text()
    (section,) = re.findall(rf"^## {recipe}$(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    steps = [*STEP.finditer(section)]
    assert steps
    assert len(steps) == section.count("```") // 2, f"{recipe}: a block of code is not a step"
    return steps


def follow(clone: Clone, recipe: str) -> None:
    """Do in ``clone`` what the recipe says."""
    for step in steps_of(recipe):
        if step["new"]:
            path = clone.path / step["new"]
            assert not path.exists()
            path.write_text(step["text"])
            continue
        path = clone.path / step["file"]
        text = path.read_text()
        if step["how"] == "at the end":
            path.write_text(text + step["text"])
            continue
        anchor = step["anchor"]
        assert text.count(anchor) == 1, (
            f"{step['file']} holds {anchor!r} {text.count(anchor)} times"
        )
        before, _, after = text.partition(anchor)
        new = {
            "before": f"{before}{step['text']}{anchor}{after}",
            "after": f"{before}{anchor}\n{step['text'].rstrip()}{after}",
            "instead of": f"{before}{step['text'].rstrip()}{after}",
        }
        path.write_text(new[step["how"]])
